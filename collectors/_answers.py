"""What a hub answers, what an agent makes of it, and what a person is told to do."""

from http import HTTPStatus
from typing import Final

import msgspec

from collectors._http import Answer
from ledger.log import log

# The batch itself is wrong and would be wrong again. A wrong token or address is the operator's to correct: rows wait.
REFUSED: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)

_ELSEWHERE: Final = REFUSED | {
    HTTPStatus.OK,
    HTTPStatus.NO_CONTENT,
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
}
"""What something else says that stands where a hub is expected."""

CERTIFICATE_REQUIRED: Final = 496
"""The hub wants to see a certificate of the caller: nginx's number for it, in no standard."""

ADVICE: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: (
        "the token is missing, mistyped or revoked: `clusterledger token create {node} --cluster {cluster}` on the "
        "hub, and set it as agent.token here; a file that changes is read again, for the environment and systemd's "
        "credentials restart"
    ),
    HTTPStatus.FORBIDDEN: (
        "the token is another node's, or agent.node and agent.cluster say the wrong ones: `clusterledger token create "
        "{node} --cluster {cluster}` on the hub, and set it as agent.token here, or correct them and restart"
    ),
    CERTIFICATE_REQUIRED: (
        "set agent.tls_certificate and agent.tls_key to a certificate of this node that the hub's authority "
        "(hub.client_ca) has signed, and restart"
    ),
    HTTPStatus.UPGRADE_REQUIRED: "update the older of agent and hub; until then this node's rows wait in its spool",
}


NO_HUB: Final = (
    "what answers at agent.hub is no hub: see the address, http:// or https://, and what stands before the hub, "
    "such as a proxy that asks people to log in"
)


class _Refusal(msgspec.Struct):
    """How a hub says what is wrong."""

    error: str
    hint: str = ""


def is_of_another_version(answer: Answer) -> bool:
    """Tell whether a hub of another release refuses: it will be updated, and the rows are good then."""
    is_said = answer.status_code == HTTPStatus.BAD_REQUEST and "found version" in answer.text[:200]
    return is_said or answer.status_code == HTTPStatus.UPGRADE_REQUIRED


def _is_a_hubs(answer: Answer) -> bool:
    """Tell whether a hub says what is wrong: a proxy, or another server, knows nothing of the rows."""
    try:
        msgspec.json.decode(answer.content, type=_Refusal)
    except msgspec.DecodeError:
        return False
    return True


def is_no_hubs(answer: Answer) -> bool:
    """Tell whether something else answers in the place of a hub."""
    return answer.status_code in _ELSEWHERE and not _is_a_hubs(answer)


def can_never_be_taken(answer: Answer) -> bool:
    """Tell whether a batch would be refused again, whenever it is sent.

    A proxy's limit of size is one as well: smaller parts pass it.
    """
    if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return True
    return answer.status_code in REFUSED and _is_a_hubs(answer) and not is_of_another_version(answer)


def acknowledges(answer: Answer, batch_id: str) -> bool:
    """Tell whether a hub says that it has this batch: anything else that answers 200 has not."""
    if not answer.is_success:
        return False
    try:
        return msgspec.json.decode(answer.content, type=_Acknowledged).batch_id == batch_id
    except msgspec.DecodeError:
        return False


def said_in(answer: Answer) -> str:
    """Return what a hub says of a refusal, or the start of what something else answers in its place."""
    try:
        refusal = msgspec.json.decode(answer.content, type=_Refusal)
    except msgspec.DecodeError:
        return answer.text[:200]
    return f"{refusal.error} (hint: {refusal.hint})" if refusal.hint else refusal.error


def advised(answer: Answer, node: str, cluster: str) -> tuple[str, str]:
    """Return what is said of a refusal and what a person must do about it; '' where waiting may do."""
    said = said_in(answer)
    if is_no_hubs(answer):
        return f"found an answer that is no hub's: {said}", NO_HUB
    status = HTTPStatus.UPGRADE_REQUIRED if is_of_another_version(answer) else answer.status_code
    return said, ADVICE.get(status, "").format(node=node, cluster=cluster)


class _Kept(msgspec.Struct):
    """What the hub says of one table."""

    rejected: int = 0


class _Acknowledged(msgspec.Struct):
    """What the hub answers to a batch that it has."""

    batch_id: str = ""
    tables: dict[str, _Kept] = {}


def tell_rejected(content: bytes) -> int:
    """Log rows that the hub kept apart, and return how many: a collector yields what its table does not allow."""
    answer = msgspec.json.decode(content, type=_Acknowledged)
    for name, kept in answer.tables.items():
        if kept.rejected:
            log.warning("hub rejected rows; page Data health says why", table=name, row_count=kept.rejected)
    return sum(kept.rejected for kept in answer.tables.values())
