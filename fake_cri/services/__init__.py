"""RuntimeService and ImageService: a handler for each rpc that is built, from request message to serialized answer."""

from fake_cri.services.table import handlers, stream_handlers

__all__ = ["handlers", "stream_handlers"]
