"""The entry of the pages: Streamlit runs this for each visit; the hub has opened the store."""

from pathlib import Path

import streamlit as st

from app import context, controls, data, links, login, trust
from app.page import SECTIONS, pages

# A picture of our own: a named icon would be fetched from another site.
_ICON = str(Path(__file__).with_name("icon.png"))

# Streamlit leaves room for a toolbar that the hub does not show, and cuts the headings of numbers off.
_STYLE = (
    "<style>.stMainBlockContainer { padding-top: 2.4rem; padding-bottom: 3rem; }"
    "[data-testid=stMetricLabel] p { white-space: normal !important; }</style>"
)


def run() -> None:
    """Offer the pages of the viewer's role, and show the chosen one."""
    st.set_page_config(page_title="clusterledger", page_icon=_ICON, layout="wide")
    at = context.current()
    if at is None:
        st.error("No hub runs in this process. Start it with `clusterledger up`.")
        return
    with at.visit():
        _show()


def _show() -> None:
    found = pages(data.viewer().role)
    if not found:
        st.info("No page is installed.")
        st.stop()
    first = found[0]
    built = {
        each.name: st.Page(
            each.show, title=each.title, icon=each.icon or None, url_path=each.path, default=each is first
        )
        for each in found
    }
    offered = {
        section: [built[each.name] for each in found if each.section == section]
        for section in SECTIONS
        if any(each.section == section for each in found)
    }
    st.html(_STYLE)
    links.register(built)
    chosen = st.navigation(offered, expanded=True)
    controls.draw(chosen.url_path)
    login.draw(data.hub())
    st.title(chosen.title, anchor=False)
    _trust()
    chosen.run()


def _trust() -> None:
    """Say on each page how far its numbers can be trusted."""
    now = data.minute()
    found = data.answer("freshness", scope=data.Scope(), now=now)
    with st.container(horizontal=True, gap="small"):
        for mark in data.once(trust.marks, found, now=now):
            st.badge(mark.label, color=mark.tone, help=mark.meaning)


run()
