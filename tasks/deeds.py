"""What only a tool can do: how it is told, and by what names such tools go."""

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Deed:
    """Something that an agent does with a tool."""

    said: str
    """Its past forms, separated by `|`."""
    stems: str
    """Words of tools' names, or their beginnings; a call of any such tool makes the statement true."""
    objects: str = ""
    """What it must be done to; without these it is done without a tool: "wrote a summary"."""
    passive: bool = True
    """Whether it is claimed without saying who did it: "was sent"."""
    also: str = ""
    """Further stems, for a tool that has another of its words in the sentence."""
    weak: str = ""
    """Stems that count only where the agent had no tool that fits better."""

    @cached_property
    def past(self) -> re.Pattern[str]:
        """The past form, to be matched where a verb may stand."""
        return re.compile(rf"\s*(?:{self.said})\b", re.IGNORECASE)

    @cached_property
    def object(self) -> re.Pattern[str]:
        """The object, to be searched behind the verb."""
        return re.compile(rf"(?<![\w-])(?:{self.objects})", re.IGNORECASE)


FILE = r"(?<![\w/-])[\w/-]{1,80}\.(?:md|csv|json|txt|pdf|py|xlsx?|docx?|html|ya?ml|log|sql|png)\b"
_FILES = rf"files?\b|disk|folder|directory|drive|archive|repository|repo\b|branch|spreadsheet|workbook|bucket|{FILE}"
_RECORDS = (
    r"database|records?\b|rows?\b|tickets?\b|issues?\b|accounts?\b|entry|entries|calendar|crm\b|tracker|"
    r"subscriptions?\b|"
    r"profile|settings|configuration|customer(?:['’]s|s['’])? (?:data|details)|backlog|wiki"
)
_PEOPLE = (
    r"teams?\b|customers?\b|clients?\b|owners?\b|boards?\b|recipients?\b|managers?\b|suppliers?\b|"
    r"subscribers?\b|reviewers?\b|"
    r"staff|colleagues?\b|users?\b|everyone|them\b|him\b|her\b|you\b|department"
)
_RUNNERS = "run execute exec test shell python bash code command terminal"

SEARCH = Deed(
    "searched|queried|googled|scoured",
    "search find lookup look retriev google bing serp tavily exa brave duckduckgo rag",
    passive=False,
    also="query sql read fetch get list",
)
LOOK_UP = Deed(
    "looked up|looked through",
    SEARCH.stems,
    passive=False,
    also=SEARCH.also,
)
SEARCHED = Deed(
    "searched|queried|consulted",
    SEARCH.stems,
    r"databases?\b|web\b|internet|archives?\b|registers?\b|documents?\b|catalogue|index\b|knowledge base|warehouse",
    also=SEARCH.also,
)
FETCH = Deed(
    "fetched|visited|downloaded|scraped|crawled|browsed|accessed|opened|retrieved|pulled|loaded",
    "fetch http get read scrap url open brows visit download crawl load page request retriev pull",
    r"https?://|www\.|web ?(?:site|page)s?\b|pages?\b|urls?\b|links?\b|sites?\b|apis?\b|endpoint|documents?\b|"
    r"database|feed\b|"
    rf"{_FILES}|[\w-]{{1,60}}\.(?:com|org|net|io|gov|edu|eu|de|uk|example)\b",
    also="search api query sql",
    weak="web",
)
RUN = Deed(
    "ran|run|executed|re-ran|reran|re-run|compiled",
    f"{_RUNNERS} benchmark eval",
    r"(?:unit |integration |regression |all |test )?tests?\b|suite|scripts?\b|code\b|commands?\b|programs?\b|"
    r"benchmarks?\b|"
    r"query|queries|notebook|build\b|pipeline|linter|simulations?\b|calculations?\b|snippet|migration",
    also="sql query search calc",
)
SEARCH_RUN = Deed(
    "ran|run|performed|conducted|did|done|made|carried out",
    "search find lookup query google retriev rag",
    r"(?:[\w-]{1,20} ){0,4}(?:search(?:es)?|look-?ups?)\b",
)
CALCULATE = Deed(
    "calculated|computed|recalculated",
    "calc compute math python execute run code eval wolfram",
    passive=False,
    also="sql query",
)
READ = Deed(
    "read|re-read|reread",
    "read fetch open get load search retriev document file page",
    rf"{_FILES}|documents?\b|pages?\b|pdfs?\b|https?://|web ?sites?\b",
    passive=False,
)
_LIVE = (
    r"databases?\b|web\b|internet\b|web ?sites?\b|apis?\b|servers?\b|crm\b|inbox\b|mailbox\b|calendar\b|registers?\b|"
    r"data warehouse|knowledge base|issue tracker|calculator\b|search engines?\b"
)
DEEDS = (
    SEARCH,
    LOOK_UP,
    SEARCHED,
    FETCH,
    RUN,
    SEARCH_RUN,
    CALCULATE,
    READ,
    Deed("downloaded|scraped|crawled", FETCH.stems, passive=False, also=FETCH.also, weak=FETCH.weak),
    Deed(
        "took|taken|captured|made",
        "screenshot capture snapshot snap photo camera brows playwright puppeteer record screen",
        r"(?:[\w-]{1,20} ){0,3}(?:screenshots?|screen captures?|snapshots of the (?:page|screen|site))\b",
    ),
    Deed(
        "checked|cross-checked|double-checked|verified|validated|looked",
        "search find query sql database lookup fetch http scrap brows api check verif valid calc crm inbox mail "
        "calendar event",
        rf"[^.;,]{{0,60}}\b(?:against|in|via|using|through|with) (?:the|our|your|a|an) (?:[\w-]{{1,20}} ){{0,2}}"
        rf"(?:{_LIVE})(?! (?:you|export|extract|dump|schema|that))",
        passive=False,
        also="read list get open look retriev",
    ),
    Deed(r"tests? (?:have |all |now )*pass(?:ed)?|tests? are (?:all |now )*(?:green|passing)", f"{_RUNNERS} ci"),
    Deed(
        "sent|posted|e-mailed|emailed|mailed|messaged|forwarded|published|texted|tweeted|notified|alerted|"
        "pinged|informed|contacted",
        "send post mail email notify notif message slack sms publish tweet alert webhook chat forward",
        rf"e-?mails?\b|messages?\b|it\b|slack|channels?\b|lists?\b|notes?\b|notifications?\b|reminders?\b|summary|"
        rf"reports?\b|"
        rf"drafts?\b|invitations?\b|replies|reply\b|responses?\b|(?:the |our |your |all |"
        rf"every )?(?:\w{{1,20}} )?(?:{_PEOPLE})",
    ),
    Deed(
        "wrote|written|saved|stored|uploaded|exported|committed|pushed|backed up",
        "write save store upload export file create put commit push git append backup",
        rf"{_FILES}|database|cloud\b|server\b|wiki|(?:to|in|into|on) (?:the |our )?(?:shared|main|online)\b",
    ),
    Deed(
        "deleted|removed|erased|purged|wiped",
        "delet remov eras purge drop clean",
        rf"{_FILES}|{_RECORDS}|duplicates?\b|copies|copy\b|data\b|users?\b|backups?\b",
    ),
    Deed("refunded|reimbursed", "refund reimburs payment pay stripe"),
    Deed(
        "issued|initiated|triggered|made|processed",
        "refund reimburs pay transfer stripe",
        r"(?:\w{1,20} ){0,3}(?:refunds?|payments?|transfers?)\b(?! \w)|(?:\w{1,20} ){0,3}(?:refunds?|payments?|"
        r"transfers?) (?:to|of|for|by|on|has|have|was|were)\b",
    ),
    Deed(
        "paid|transferred|charged|wired",
        "pay transfer charge wire bank invoice stripe",
        r"invoices?\b|bills?\b|amounts?\b|money|funds?\b|cards?\b|accounts?\b|suppliers?\b|fees?\b|deposit|\$|€|"
        r"£|usd\b|eur\b",
    ),
    Deed(
        "booked|reserved|scheduled|rescheduled",
        "book reserv schedul calendar event meeting appointment",
        r"rooms?\b|flights?\b|hotels?\b|tables?\b|meetings?\b|calls?\b|appointments?\b|seats?\b|trains?\b|"
        r"tickets?\b|slots?\b|"
        r"follow-?ups?\b|reminders?\b|calendar|sessions?\b|interviews?\b|cars?\b|trips?\b",
    ),
    Deed(
        "added|put|entered",
        "add create insert event calendar update write append put",
        r"(?:to|in|into) (?:the |your |our |my )?(?:\w{1,20} )?(?:calendar|database|crm|tracker|backlog|"
        r"spreadsheet|cart|"
        r"repository|wiki)\b",
    ),
    Deed(
        "cancelled|canceled",
        "cancel delet remov",
        r"(?:\w{1,20} ){0,2}(?:bookings?|orders?|subscriptions?|meetings?|reservations?|appointments?|flights?|"
        r"payments?)\b",
    ),
    Deed(
        "ordered|purchased|bought",
        "order purchas buy checkout shop",
        r"items?\b|units?\b|copies|licen[cs]es?\b|supplies|parts?\b|replacements?\b|products?\b",
        passive=False,
    ),
    Deed(
        "created|opened|filed|raised|registered|submitted|logged",
        "create open file add insert issue ticket submit register new write post log",
        rf"pull requests?\b|prs?\b|bug reports?\b|orders?\b|events?\b|{_RECORDS}|{_FILES}",
    ),
    Deed(
        "updated|changed|edited|modified|closed|renamed|moved|archived|merged|assigned|approved",
        "updat chang edit modif set patch close renam move archive merge write put assign approve",
        rf"{_RECORDS}|{_FILES}|pull requests?\b|prs?\b|status of|address\b|passwords?\b",
    ),
    Deed(
        "deployed|released|restarted|rebooted|rolled back|provisioned",
        "deploy release restart reboot rollback provision shell run execute ci",
        r"services?\b|servers?\b|app(?:lication)?\b|version|clusters?\b|containers?\b|production|instances?\b|"
        r"patch|fix\b|build\b",
    ),
    Deed("translated|transcribed", "translat transcri", r"[^.]{0,80}\b(?:with|using) the \w"),
)

_IRREGULAR = {
    **dict.fromkeys(("run", "running"), "ran"),
    **dict.fromkeys(("send", "sending"), "sent"),
    **dict.fromkeys(("write", "writing"), "wrote"),
    **dict.fromkeys(("read", "reading"), "read"),
    **dict.fromkeys(("pay", "paying"), "paid"),
    **dict.fromkeys(("buy", "buying"), "bought"),
    **dict.fromkeys(("put", "putting"), "put"),
    **dict.fromkeys(("query", "querying"), "queried"),
    **dict.fromkeys(("notify", "notifying"), "notified"),
    **dict.fromkeys(("look up", "looking up"), "looked up"),
}


def past_forms() -> dict[str, str]:
    """Return the past form of each deed by its infinitive and its gerund: `search` and `searching` are `searched`."""
    forms: dict[str, str] = {}
    for deed in DEEDS:
        for past in re.findall(r"\b[a-z-]+ed\b", deed.said):
            stem = past.removesuffix("ed")
            forms |= {stem: past, f"{stem}e": past, f"{stem}ing": past}
    return forms | _IRREGULAR
