"""What only a tool can do: the verbs that tell of it, what it is done to, and by what names such tools go."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

FILE = (
    r"(?<![\w/-])[\w/-]{1,80}\.(?:md|csv|json|txt|pdf|py|xlsx?|docx?|html|ya?ml|log|sql|png|jpe?g|svg|pptx?|wav|mp3)\b"
)
_FILES = (
    rf"files?\b|disk|folder|directory|drive|archive|repository|repo\b|branch|spreadsheet|workbook|bucket|cloud\b|"
    rf"server\b|{FILE}"
)
_RECORDS = (
    r"database|(?<!own )records?\b|rows?\b|tickets?\b|issues?\b|accounts?\b|entry|entries|calendar|crm\b|tracker|"
    r"subscriptions?\b|incidents?\b|leads?\b|contacts?\b|permissions?\b|invoices?\b|"
    r"profile|settings|configuration|customer(?:['’]s|s['’])? (?:data|details)|backlog|wiki|(?:pull|merge) requests?\b|"
    r"prs?\b|bug reports?\b"
)
_PEOPLE = (
    r"teams?\b|customers?\b|clients?\b|owners?\b|boards?\b|recipients?\b|managers?\b|suppliers?\b|tenants?\b|"
    r"subscribers?\b|reviewers?\b|guests?\b|members?\b|office\b|authors?\b|vendors?\b|landlord|patients?\b|parents\b|"
    r"staff|colleagues?\b|users?\b|everyone|everybody|them\b|him\b|her\b|you\b|department|desk\b|support\b|"
    r"(?:mr|mrs|ms|dr)\b\.?|volunteers?\b|engineers?\b|shift\b"
)
_WEB_PLACE = (
    r"https?://|www\.|web\b|internet\b|online\b|google\b|web-?(?:site|page)s?\b|home-?page|(?:landing|help|"
    r"status) page|"
    r"sites?\b|urls?\b|links?\b|portals?\b|[\w-]{1,60}\.(?:com|org|net|io|gov|edu|eu|de|uk|example)\b"
)
_STORE = (
    r"(?:data)?bases?\b|(?!(?:the|this|that|a|each|every|following|above|below|first|second|last|"
    r"summary)\b)\w+ table\b|registe?r(?:s|y)?\b|registries|archives?\b|"
    r"catalog(?:ue)?s?\b|"
    r"index\b|warehouse|ledgers?\b|inventory|crm\b|tracker|dashboards?\b|repositor(?:y|ies)|inbox|mailbox|calendars?\b|"
    r"(?:document|data|vector|key) ?store|knowledge base|wiki\b|servers?\b|apis?\b|endpoints?\b|directory\b|"
    r"(?:server|error|access|system|audit|build) ?(?:['’]s )?logs?\b|logs\b|log file|feeds?\b|(?:account )?balance\b"
)
_DOCUMENT = (
    rf"{_FILES}|documents?\b|pages?\b|pdfs?\b|{_WEB_PLACE}|attachments?\b|attached|manuals?\b|inbox|mailbox|"
    r"contracts?\b|logs?\b|e-?mails?\b|transcripts?\b|readme\b|agreements?\b|leases?\b|articles?\b|guidelines?\b|statutes?\b|docs\b"
)
_SEPARABLE = frozenset(("up", "off", "out", "back"))
_LOOKERS = "search find lookup look retriev google bing serp tavily exa brave duckduckgo rag query sql"
_RUNNERS = "run execute exec test shell python bash code command terminal"
_OPENERS = "fetch http read scrap url open brows visit download crawl load page request retriev pull curl"
_CHECKERS = (
    "search find query sql database lookup fetch http scrap brows api check verif valid crm inbox mail calendar event "
    "log list inspect monitor status read ledger register"
)


@dataclass(frozen=True)
class Deed:
    """Something that an agent does with a tool: a family of verbs with one effect."""

    said: str
    """Infinitives, separated by commas; one may have a particle: "look up"."""
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
    given: bool = False
    """Whether what the task was given can be meant, so that no tool is needed where there is such."""
    looks: bool = False
    """Whether it is done at a place, so that a tool for another place cannot have done it."""
    optional: bool = False
    """Whether it can be done in thought, so that it is claimed only where the agent had a tool for it."""

    @cached_property
    def verbs(self) -> dict[str, tuple[str, ...]]:
        """The infinitives, each with its particles; "" where it needs none."""
        verbs: dict[str, tuple[str, ...]] = {}
        for one in self.said.split(","):
            verb, _, particle = one.strip().partition(" ")
            verbs[verb] = (*verbs.get(verb, ()), particle)
        return verbs

    @cached_property
    def object(self) -> re.Pattern[str]:
        """The object, to be searched beside the verb."""
        return re.compile(rf"(?<![\w-])(?:{self.objects})", re.IGNORECASE)

    def fits(self, verb: str, rest: str) -> bool:
        """Say whether the verb is one of these, with its particle: "up" may stand behind a short object, "at" not."""
        return any(
            not particle
            or re.match(
                rf"\s*{'(?:[^,;.]{1,60} )?' if particle in _SEPARABLE else ''}{particle}\b", rest, re.IGNORECASE
            )
            for particle in self.verbs.get(verb, ())
        )


SEARCH = Deed("search,query,google,scour,trawl", _LOOKERS, passive=False, also="read fetch get list", looks=True)
LOOK_UP = Deed(
    "look up",
    "search find lookup look retriev google bing serp tavily exa brave duckduckgo rag",
    passive=False,
    also="query sql read fetch get list",
    looks=True,
)
SEARCHED = Deed(
    "search,query,consult", _LOOKERS, rf"documents?\b|{_STORE}|{_WEB_PLACE}", also="read fetch get list", looks=True
)
FETCH = Deed(
    "fetch,visit,browse,access,open,retrieve,pull,load,go to,request,reload,probe,poll",
    _OPENERS,
    rf"{_WEB_PLACE}|pages?\b|apis?\b|endpoint|documents?\b|database|feed\b|{_FILES}",
    also="search api query sql get",
    weak="web",
    looks=True,
)
DOWNLOAD = Deed(
    "download,scrape,crawl",
    _OPENERS.replace(" read", ""),
    FETCH.objects,
    also="search api query sql get",
    weak="web",
    looks=True,
)
RUN = Deed(
    "run,execute,re-run,rerun,compile,launch,start,trigger",
    f"{_RUNNERS} benchmark eval build pipeline script lint trigger job notebook",
    r"(?:unit |integration |regression |all |test )?tests?\b|suite|scripts?\b|code\b|commands?\b|programs?\b|"
    r"benchmarks?\b|pipelines?\b|linter|simulations?\b|calculations?\b|snippet|migrations?\b|notebook|builds?\b|"
    r"workflow|type checker|backups?\b",
    also="sql query search calc check",
)
QUERY = Deed(
    "run,execute,send,issue,perform,make",
    "sql query database search find db lookup",
    r"(?:[\w-]{1,20} ){0,4}(?:query|queries)\b",
    also="run execute",
    looks=True,
)
SEARCH_RUN = Deed(
    "run,perform,conduct,do,make,carry out",
    "search find lookup query google retriev rag",
    r"(?:[\w-]{1,20} ){0,4}(?:search(?:es)?|look-?ups?)\b",
    looks=True,
)
CALCULATE = Deed(
    "calculate,compute,recalculate",
    "calc compute math python execute run code eval wolfram",
    passive=False,
    also="sql query",
    optional=True,
)
READ = Deed(
    "read,re-read,reread,skim,open,go through,parse,page through,leaf through,inspect",
    "read fetch open get load retriev document file page view parse extract",
    _DOCUMENT,
    passive=False,
    weak="search",
    given=True,
    looks=True,
)
CHECK = Deed(
    "check,cross-check,double-check,verify,validate,look at,look in,look into,look on,look through,confirm,"
    "inspect,examine,consult,go through,review,scan,"
    "monitor,compare,test,go online,spot-check",
    _CHECKERS,
    rf"{_STORE}|{_WEB_PLACE}|with (?:a|the) (?:\w{{1,20}} )?(?:search|query|calculator|tool)\b|calculator\b",
    passive=False,
    also="open look retriev calc run get",
    looks=True,
)
EXTRACT = Deed(
    "pull,extract,get,retrieve,obtain,draw,take,export,count,load,collect,gather",
    f"{_LOOKERS} {_OPENERS} database db export extract list statistic",
    rf"(?:[^.;,]{{0,60}} )?(?:from|in|off|via|through) (?:the|our|your|a|an|its|their) (?:[\w-]{{1,20}} ){{0,3}}?"
    rf"(?:{_STORE}|{_WEB_PLACE})",
    passive=False,
    also="get",
    looks=True,
)
RETRIEVE = Deed(
    "retrieve,fetch,pull,load,list,export",
    f"{_LOOKERS} {_OPENERS} database db export list view show",
    rf"(?:[^.;,]{{0,60}} )?(?:{_RECORDS}|orders\b)",
    passive=False,
    also="get",
    looks=True,
)
EXTRACT_TEXT = Deed(
    "extract,parse,pull,copy,count",
    READ.stems,
    r"[^.;,]{0,60}\b(?:from|in|of) (?:the|our|your|a|an|its|both|all) (?:[\w-]{1,20} ){0,3}?"
    r"(?:pdfs?|attachments?|spreadsheets?|workbook|files?)\b",
    passive=False,
    weak="search",
    given=True,
    looks=True,
)
ASK = Deed(
    "ask,consult,query,prompt,call,invoke,ping,request,hit,poll,delegate",
    "ask consult delegate coworker call invoke prompt chat agent message api",
    r"(?:the |a |an |our |your |my )(?:[\w-]{1,20} ){0,2}(?:service|agent|system|model|bot|assistant|hotline|api|"
    r"endpoint|tool|expert system|engine|plug-?in)\b",
    passive=False,
    also="get lookup search query fetch check http",
)
_CONTACT = "send post mail email notify notif message slack sms publish tweet alert webhook chat forward reply"
SEND = Deed(
    "send,post,e-mail,email,mail,message,forward,publish,text,tweet,notify,alert,ping,inform,contact,reply,reach out,"
    "share,invite,remind",
    _CONTACT,
    rf"e-?mails?\b|messages?\b|it\b|slack|#\w|channels?\b|lists?\b|notes?\b|notifications?\b|reminders?\b|summary|"
    rf"reports?\b|drafts?\b|invitations?\b|invites?\b|replies|reply\b|responses?\b|invoices?\b|letters?\b|"
    rf"confirmations?\b|minutes\b|offers?\b|newsletter|alerts?\b|inquir(?:y|ies)|announcements?\b|(?:the |our |your |"
    rf"all |every )?(?:\w{{1,20}} )?(?:{_PEOPLE})",
    also="share upload invite remind contact",
)
DEEDS = (
    SEARCH,
    LOOK_UP,
    SEARCHED,
    FETCH,
    RUN,
    QUERY,
    SEARCH_RUN,
    CALCULATE,
    READ,
    CHECK,
    EXTRACT,
    RETRIEVE,
    EXTRACT_TEXT,
    ASK,
    SEND,
    Deed(
        "contact,notify,e-mail,email,message,alert,phone,send,forward",
        f"{_CONTACT} contact call phone",
        r"(?!(?:my|our|your)sel|me\b|us\b|mixed )\w",
        passive=False,
    ),
    Deed("e-mail,email", _CONTACT),
    Deed("let", _CONTACT, rf"(?:[\w'’-]{{1,20}} ){{0,4}}(?:{_PEOPLE}) know\b", passive=False),
    Deed(
        "call,phone,ring,dial",
        "call phone dial telephone voice contact",
        rf"(?:the|your|our) (?:[\w'’-]{{1,20}} ){{0,3}}(?:{_PEOPLE})",
    ),
    DOWNLOAD,
    Deed("download,scrape,crawl", DOWNLOAD.stems, passive=False, also="get", weak="web"),
    Deed(
        "take,capture,make",
        "screenshot capture snapshot snap photo camera brows playwright puppeteer record screen",
        r"(?:[\w-]{1,20} ){0,3}(?:screenshots?|screen captures?|snapshots of the (?:page|screen|site))\b",
    ),
    Deed(
        "generate,create,render,draw,produce,make,paint,record,synthesise,synthesize,edit",
        "image picture photo draw render paint dall diffusion generat audio speech tts voice video music illustrat",
        r"(?:an? |the |two |three |\d+ |some )(?:[\w-]{1,20} ){0,2}(?:images?|pictures?|photos?|illustrations?|logos?|"
        r"audio|videos?|voice-?overs?|clips?|songs?|artworks?|posters?|jingles?)\b",
    ),
    Deed(
        "write,save,store,export,back up,dump,output",
        "write save store export create put append backup dump",
        rf"{_FILES}|database|wiki|disk|(?:to|in|into|on) (?:the |our )?(?:shared|main|online)\b",
        also="upload",
        weak="shell run execute python insert add update",
    ),
    Deed(
        "upload,publish,attach",
        "upload put publish push attach share",
        rf"{_FILES}|slides|images?\b|pictures?\b|photos?\b|videos?\b|reports?\b|documents?\b|pdfs?\b|"
        rf"data ?sets?\b|it\b",
        weak="write save store send",
    ),
    Deed(
        "commit,push,merge,tag,rebase,cherry-pick,branch,revert",
        "git commit push merge branch tag rebase revert github gitlab pull vcs",
        r"change|commits?\b|branch|main\b|master\b|fix\b|patch|code\b|repo|release|upstream|origin\b|it\b|"
        r"pull requests?|"
        rf"merge requests?|{FILE}",
        weak="shell run execute bash command write update",
    ),
    Deed(
        "delete,remove,erase,purge,wipe,drop,clear",
        "delet remov eras purge drop clean clear wipe",
        rf"{_FILES}|{_RECORDS}|copies|copy\b|data\b|users?\b|backups?\b|cache\b",
    ),
    Deed("refund,reimburse", "refund reimburs payment pay stripe"),
    Deed(
        "issue,initiate,trigger,make,process",
        "refund reimburs pay transfer stripe",
        r"(?:\w{1,20} ){0,3}(?:refunds?|payments?|transfers?)\b(?! \w)|(?:\w{1,20} ){0,3}(?:refunds?|payments?|"
        r"transfers?) (?:to|of|for|by|on|has|have|was|were)\b",
    ),
    Deed(
        "pay,transfer,charge,wire,settle,credit,debit",
        "pay transfer charge wire bank invoice stripe credit debit",
        r"invoices?\b|bills?\b|amounts?\b|money|funds?\b|cards?\b|accounts?\b|suppliers?\b|fees?\b|deposit|\$|€|"
        r"£|usd\b|eur\b|(?:euros?|dollars?|pounds?|francs?|kron\w+)\b|rent\b",
    ),
    Deed(
        "book,reserve,schedule,reschedule,arrange,set up,set",
        "book reserv schedul calendar event meeting appointment remind",
        r"rooms?\b|flights?\b|hotels?\b|tables? (?:for|at|has|was|is)\b|meetings?\b|calls?\b|appointments?\b|seats?\b|"
        r"trains?\b|tickets?\b|slots?\b|visits?\b|deliver(?:y|ies)\b|courier|taxis?\b|"
        r"follow-?ups?\b|reminders?\b|calendar|sessions?\b|interviews?\b|cars?\b|trips?\b|posts?\b",
        also="create add",
    ),
    Deed(
        "add,put,enter,insert,leave,record",
        "add create insert event calendar update write append put",
        r"(?:to|in|into|on|for) (?:the |your |our |my )?(?:\w{1,20} )?(?:calendar|database|crm|tracker|backlog|"
        r"spreadsheet|cart|repository|wiki|queue|ticket|ledger|register|inventory|(?:log|time) ?book|log)\b",
    ),
    Deed(
        "cancel,call off",
        "cancel delet remov",
        r"(?:\w{1,20} ){0,3}(?:bookings?|orders?|subscriptions?|meetings?|reservations?|appointments?|flights?|"
        r"payments?)\b",
    ),
    Deed(
        "order,purchase,buy",
        "order purchas buy checkout shop",
        r"items?\b|units?\b|copies|licen[cs]es?\b|supplies|parts?\b|replacements?\b|products?\b|boxes\b|"
        r"(?:a|an|two|three|four|five|six|ten|\d+) (?:new |more |further )?\w{3}",
        passive=False,
    ),
    Deed("place", "order purchas buy checkout shop place", r"(?:[\w-]{1,20} ){0,3}orders?\b"),
    Deed(
        "create,open,file,raise,register,submit,log",
        "create open add insert issue ticket submit register new write post log",
        rf"orders?\b|events?\b|applications?\b|claims? with\b|complaints?\b|{_RECORDS}|{_FILES}",
    ),
    Deed(
        "update,change,edit,modify,close,rename,move,archive,merge,assign,approve,reopen,resolve,label,reset,mark,"
        "patch,"
        "disable,enable,lock,unlock",
        "updat chang edit modif set patch close renam move archive merge write put assign approve resolve label reset "
        "reopen mark disable enable lock unlock",
        rf"{_RECORDS}|{_FILES}|status of|address\b|passwords?\b|feature flags?\b",
    ),
    Deed(
        "deploy,release,restart,reboot,roll back,provision,install,migrate,scale,ship",
        "deploy release restart reboot rollback provision shell run execute ci install migrat scale bash command",
        r"services?\b|servers?\b|app(?:lication)?\b|version|clusters?\b|containers?\b|production|staging|instances?\b|"
        r"patch|fix\b|build\b|packages?\b|dependenc|pods?\b|routers?\b|devices?\b|machines?\b|hosts?\b|nodes?\b|daemon",
    ),
    Deed("translate,transcribe", "translat transcri", r"[^.]{0,80}\b(?:with|using|via) (?:the|a) \w"),
)
TESTS_PASS = Deed("run", f"{_RUNNERS} ci pipeline build")
_NOUNS = {
    **dict.fromkeys(("search", "look", "quer"), SEARCH),
    **dict.fromkeys(("check", "scan", "inspection", "review", "request", "call"), CHECK),
    **dict.fromkeys(("calcul", "comput"), CALCULATE),
    **dict.fromkeys(("test", "run", "build"), RUN),
}
NEEDS_PLACE = re.compile(rf"(?<![\w-])(?:{_STORE}|{_WEB_PLACE}|documents?\b)", re.IGNORECASE)
"""Where something lies that is looked up: without it "a search" or "my check" may be one on foot or in mind."""


def deeds_for(verb: str, rest: str) -> Iterator[Deed]:
    """Yield the deeds that an infinitive may tell of, going by what follows it."""
    return (deed for deed in DEEDS if deed.fits(verb, rest))


def deed_for_noun(noun: str) -> Deed:
    """Return the deed of "search", "look-up", "query", "check", "calculation"; SEARCH for any other."""
    return next((deed for start, deed in _NOUNS.items() if noun.casefold().startswith(start)), SEARCH)


def told_verbs() -> frozenset[str]:
    """Return the infinitives of all deeds, without particles."""
    return frozenset(verb for deed in DEEDS for verb in deed.verbs)
