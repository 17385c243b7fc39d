"""Find what somebody left to be filled in."""

import re
from collections.abc import Iterator

_TO_DO = r"(?:insert|add|your|enter|fill in|write|describe|include|to be)\b[^\[\]\n]{0,120}|placeholder[^\[\]\n]{0,60}"
_TO_NAME = r"(?:company |first |last |full |author |product |project )?name|date|(?:citation|source) needed|source|link"
_MODEL = r"(?:ai|(?:ai |large )?language) (?:model|assistant)"

_ANYWHERE = (
    re.compile(r"\b(?:TODO|TBD|TBC|FIXME|XXX+)\b"),
    re.compile(r"\blorem ipsum\b", re.IGNORECASE),
    re.compile(rf"\[(?:{_TO_DO}|{_TO_NAME}|x{{2,}}|tbd|todo)\](?![(\[:])", re.IGNORECASE),
)
_IN_PROSE = (
    re.compile(r"<(?P<tag>[A-Za-z][^<>\n=/:@\"]{0,80})>"),
    re.compile(r"\{\{[^{}\n]{1,80}\}\}|\{%[^{}\n]{1,80}%\}"),
    re.compile(r"(?<![\w}^_\\{])\{[A-Za-z_][\w-]{0,80}\}(?!\})"),
    # Not every "as an AI": people work as an AI engineer, and programs serve as an AI system.
    re.compile(r"\bas an ai(?:,| (?:i|developed|created|trained)\b)", re.IGNORECASE),
    re.compile(rf"\b(?:as|i am|i[’']m)(?: just| only)? an? {_MODEL}\b", re.IGNORECASE),
)
_CODE_SPAN = re.compile(r"(?<!`)(`+)[^`\n]+\1(?!`)")
# The elements that appear in Markdown texts: what else stands in angle brackets waits for a value.
_HTML = """
    a abbr article aside b blockquote body br caption center cite code col dd del details div dl dt em figcaption
    figure footer h1 h2 h3 h4 h5 h6 head header hr html i img ins kbd li main mark nav ol p pre q s samp section
    small span strike strong style sub summary sup table tbody td tfoot th thead title tr tt u ul var video wbr
"""


def find_placeholders(text: str, *, code: bool) -> Iterator[str]:
    """Yield the placeholders in a line; in `code`, braces and angle brackets mean something else."""
    spans = _CODE_SPAN.sub(" ", text)
    for pattern in _ANYWHERE if code else (*_ANYWHERE, *_IN_PROSE):
        for match in pattern.finditer(text if code else spans):
            tag = match.groupdict().get("tag")
            if tag is None or tag.split()[0].casefold() not in _HTML.split():
                yield match[0]
