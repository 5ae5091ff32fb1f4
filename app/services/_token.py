"""Whether the hub would take what this node sends, asked before it sends any."""

from http import HTTPStatus

import httpx2

from collectors._answers import ADVICE
from collectors._collect import identity_of, roots
from collectors._tls import trusting
from collectors.agent import token_of
from ledger.config import Settings

_ANY = "*"


def standing_of_token(settings: Settings, seconds: float) -> tuple[str, str, str] | None:
    """Return the status of this node's token, what was found and what to do; None where the hub does not tell.

    Raises: httpx2.HTTPError, ValueError: the hub does not answer.
    """
    own = identity_of(settings, roots(settings, None, None)[0])
    here = f"{own.node} of cluster {own.cluster}"
    token = token_of(settings)
    if not token:
        advice = (
            f"`clusterledger token create {own.node} --cluster {own.cluster}` on the hub, and set it as agent.token"
        )
        where = "a credential of systemd is not seen here: CLUSTERLEDGER_SECRETS=/etc/clusterledger/secrets shows it"
        return "missing", f"agent.token is not set for {here}", f"{advice}; {where}"
    agent = settings.agent
    verify = trusting("agent", agent.ca_file, agent.tls_certificate, agent.tls_key) or True
    answer = httpx2.get(
        f"{agent.hub.rstrip('/')}/api/v1/agent",
        headers={"Authorization": f"Bearer {token}"},
        timeout=seconds,
        trust_env=False,
        verify=verify,
    )
    if answer.status_code == HTTPStatus.OK:
        told = answer.json()
        if told["node"] == _ANY or (told["node"] == own.node and told["cluster"] in ("", own.cluster)):
            return "ok", f"the hub knows it as that of {here}", ""
        advice = ADVICE[HTTPStatus.FORBIDDEN].format(node=own.node, cluster=own.cluster)
        return "failed", f"it is that of {told['node']} of cluster {told['cluster']}, and this is {here}", advice
    if answer.status_code not in ADVICE:
        # A hub of an older release does not tell.
        return None
    advice = ADVICE[answer.status_code].format(node=own.node, cluster=own.cluster)
    return "failed", f"HTTP {answer.status_code}: {answer.json()['error']}", advice
