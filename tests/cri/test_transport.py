"""Status codes and errors as a Go client prints them."""

from __future__ import annotations

import pytest

from cri.transport import MAX_MESSAGE_BYTES, Code, CriError

#: google.golang.org/grpc/codes, String().
GO_NAMES = [
    *("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists"),
    *("PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented"),
    *("Internal", "Unavailable", "DataLoss", "Unauthenticated"),
]


def test_every_code_has_its_number_and_gos_name() -> None:
    assert [code.value for code in Code] == list(range(17))
    assert [code.go_name for code in Code] == GO_NAMES


@pytest.mark.parametrize(
    ("code", "message", "text"),
    [
        (Code.DEADLINE_EXCEEDED, "context deadline exceeded", "DeadlineExceeded desc = context deadline exceeded"),
        (Code.NOT_FOUND, "", "NotFound desc = "),
        (Code.CANCELLED, "a: b = c", "Canceled desc = a: b = c"),
    ],
)
def test_an_error_reads_as_in_a_kubelets_log(code: Code, message: str, text: str) -> None:
    error = CriError(code, message)
    assert str(error) == f"rpc error: code = {text}"
    assert (error.code, error.message, error.args) == (code, message, (code, message))


def test_the_kubelets_limit_of_one_message() -> None:
    assert MAX_MESSAGE_BYTES == 16_777_216
