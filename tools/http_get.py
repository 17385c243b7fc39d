"""The tool `http_get`."""

from typing import Annotated

from pydantic import Field

from muster import ToolContext, tool
from tools.egress import Egress, Refused
from tools.fetch import FetchFailed, Page, fetch, text_of
from tools.formats import Unreadable, read_file
from tools.tool import FIXED

_NO_DOMAINS = (
    "policy.yaml names no domains for http_get, so it connects to nothing; "
    "write `tools: {http_get: {domains: [example.com]}}` there"
)


@tool(effect="read", returns="untrusted", timeout_seconds=30)
def http_get(
    url: str, context: ToolContext, max_bytes: Annotated[int, Field(ge=1000, le=50_000_000), FIXED] = 2_000_000
) -> str:
    """Get a page from the web by its address, and return it as text; HTML without its markup.

    The first line tells the status, the address after redirects, the type and the size. Of anything but text, only that
    line is returned. Only the domains that the project allows can be reached.

    Args:
        url: An http or https address.
    """
    if context.domains is None:
        raise ValueError(_NO_DOMAINS)
    egress = Egress(context.domains, context.private_addresses)
    try:
        page = fetch(url, egress, max_bytes=max_bytes)
    except (Refused, FetchFailed) as error:
        raise ValueError(f"{url[:200]}: {error}") from error
    if page.status >= 400:
        raise ValueError(f"{page.url} answered {page.status} {page.reason}".rstrip())
    return _told(page, max_bytes)


def _told(page: Page, max_bytes: int) -> str:
    size = f"the first {max_bytes} bytes" if page.cut else f"{len(page.content)} bytes"
    head = f"{page.status} {page.url} ({page.kind or 'no type'}, {size})"
    text = text_of(page)
    if text is None:
        return f"{head}\nThis is no text and is not shown."
    if page.kind in ("text/html", "application/xhtml+xml"):
        try:
            document = read_file("page.html", text.encode("utf-8", "replace"))
        except Unreadable as error:
            return f"{head}\nThe page cannot be read: {error}."
        title = [document.title] if document.title else []
        text = "\n".join([*title, *(line for _, line in document.lines if line)])
    return f"{head}\n\n{text}"
