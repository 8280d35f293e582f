"""How runtimes differ, as data: one YAML file per runtime beside this module, and any file that a user wrote.

A profile decides what a client can tell runtimes apart by: error codes, what becomes of failed and duplicate objects,
which events are sent and what they carry, list order, and what each call costs in virtual time. The figures come from
watching real containerd 1.6, 1.7, 2.4 and CRI-O 1.37, and from their sources where nothing was measured.
"""

from fake_cri.profiles.loading import ProfileError, built_in_profiles, load_profile, profile_text
from fake_cri.profiles.schema import Costs, Errors, Events, Images, Lifecycle, Lists, Profile

__all__ = [
    "Costs",
    "Errors",
    "Events",
    "Images",
    "Lifecycle",
    "Lists",
    "Profile",
    "ProfileError",
    "built_in_profiles",
    "load_profile",
    "profile_text",
]
