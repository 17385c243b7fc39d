"""Words that decide what a statement is about: those that say nothing, say the same, tell apart, or judge."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _rows(text: str) -> dict[str, str]:
    """Return word → first word of its row."""
    rows = (line.split() for line in text.strip().splitlines())
    return {word: row[0] for row in rows for word in row}


SAYS_NOTHING = _words(
    """
    reach reaches reached come comes came amount amounts amounted stand stands stood total totals totalled totaled
    equal equals make makes made account accounts accounted rise rises rose risen fall falls fell fallen grow grows
    grew grown increase increases increased decrease decreased include includes included including comprise
    comprises comprised lie lies lay say says said report reports reported show shows showed shown estimate
    estimated find finds measured give gives gave given note noted record recorded measure measures put puts see
    seen remain remains sits sit remained become becomes became get got use used currently now today already then
    still yet also approximately roughly nearly almost around well least altogether overall whole entire per cent
    percent percentage share figure number value level according there numbers counted count counts has having being
    about new recent latest good later only exactly precisely key fact facts detail details answer ago consist
    consists consisted drop drops dropped climb climbs climbed one ones like please remember up out over provide
    provides provided contain contains contained offer offers offered bring brings brought annum a an the this that
    these those it its he his she her him they their them we our us you your i my who whom whose which what is are
    was were be been have had do does did can and or but nor not no never none of if than so as such here very just
    own same all any both each some too s t don while at by in on to for with from people person into two-thirds
    third quarter when where during until within between among through
    """
)

_QUALIFIER_ROWS = """
    planned forecast expect expected projected predicted intended target targeted scheduled originally
    planned initially initial budgeted goal proposed requested aim aims aimed hopes
    planned should would could might may will
    before former formerly previously earlier once
    maximum max most highest peak largest biggest longest
    minimum min lowest smallest shortest
    mean average
    yearly annual annually
    rate monthly weekly daily hourly quarterly
    large big
"""
_QUALIFIER_WORDS = """
    first second third fourth fifth sixth last previous next median net gross men women male female adult children
    other remaining another q1 q2 q3 q4 h1 h2 half domestic foreign additional extra more less fewer each spring
    summer autumn winter morning evening night weekday weekend january february april june july august september
    october november december monday tuesday wednesday thursday friday saturday sunday northern southern eastern
    western north south east west upper lower inner outer small early late
"""
QUALIFIERS = {**_rows(_QUALIFIER_ROWS), **{word: word for word in _QUALIFIER_WORDS.split()}}
"""Two statements with different ones of these are about different things."""

SAME_STEM = _rows(
    """
    employ employe staff headcount workforc personnel
    cost price
    revenu turnov
    found establish
    long length
    high height tall
    wide width
    deep depth
    weigh weight heavi
    popul inhabit resid
    deadlin due
    complet finish
    start begin began begun commenc
    end conclud
    publish public
    enrol enroll recruit
    respond particip
    last durat take took
    build built construct
    fail failur
    open inaugur
    buy bought acquir acquisit
    die death
    born birth
    vote voter
    visit visitor
    fund financ
    sell sold sale
    automobil car
    fee charg
    area cover
    sign signatur
    improv improved
    """
)
"""Stem → the one it is taken for."""

REFERENTS = _rows(
    """
    company companies firm business enterprise corporation group manufacturer maker
    city town municipality village
    trial study experiment
    authors team researchers
    region county province district
    country nation state
    software tool library package
    report paper document
    """
)
"""Nouns that stand for a name told before: `the company`."""

CLASSES = _words(
    """
    river lake mountain hill island bridg tower dam build hospit museum school univers church station stadium
    airport port bank hotel factori plant mine park library theatr ship satellit aircraft train tram bus car phone
    laptop camera product devic machin instrument drug vaccin app servic platform system websit newspap book film
    song album paint organis organ agenc institut foundat associ parti festiv confer project programm studi
    """
)
"""Stems of nouns that stand for a name as `the river` does for the Rhine."""

EVENTS = _words(
    """
    launch found complet deadlin sign publish releas introduc buy open close start end elect adopt born die build
    list renam merg incorpor invent discov approv expir forc effect date deliv arriv creat marri retir appoint join
    ratifi discontinu regist grant issu submit held schedul took place resign award destroy burn abolish wed
    demolish live cutov kick kickoff handov rollout migrat
    """
)
"""Stems of what happens once, so that it has one date."""

VERBS = _words(
    """
    is are was were be been has have had does did can could will would may might must should shall came comes come
    reached reaches amounts amounted stood stands rose rises fell falls grew grows made makes accounts accounted
    costs cost takes took employs holds held covers carries weighs runs ran lasts lasted starts started ends ended
    begins began opened opens became becomes remains lies lay went goes works hosts serves supports improves causes
    reduces increases gives gave offers uses needs requires contains includes connects produces earns sells sold
    attracts drew draws found sees saw passed passes failed fails fits won lost built shows bought follows lives
    moved forms charges spans measures owns says said left paid pays led leads got gets met meets rests
    """
)
PREPOSITIONS = _words(
    """
    in on at by for with from to since until during after before under over between within among across through into
    without against around near off per as than towards toward upon via despite because when if once where while
    whereas although though and but or so
    """
)
NEGATIONS = _words(
    """
    no not never none neither nor without cannot
    """
)
UNSURE = _words(
    """
    if whether may might could should would will can unless possibly perhaps likely only
    """
)
"""A sentence with one of these denies and affirms nothing."""

_STATUS_ROWS = {
    ("decision", "approved"): "approved accepted granted",
    ("decision", "rejected"): "rejected refused denied declined",
    ("state", "open"): "open unresolved",
    ("state", "closed"): "closed resolved",
    ("level", "low"): "low minor",
    ("level", "medium"): "medium moderate",
    ("level", "high"): "high major",
    ("level", "critical"): "critical severe",
    ("test", "passed"): "pass passed passes",
    ("test", "failed"): "fail failed fails",
    ("yes/no", "yes"): "yes true supported",
    ("yes/no", "no"): "no false unsupported",
    ("activity", "active"): "active",
    ("activity", "inactive"): "inactive",
    ("switch", "enabled"): "enabled",
    ("switch", "disabled"): "disabled",
    ("validity", "valid"): "valid",
    ("validity", "invalid"): "invalid",
    ("availability", "available"): "available",
    ("availability", "unavailable"): "unavailable",
}
STATUSES = {word: status for status, words in _STATUS_ROWS.items() for word in words.split()}
"""Status word → family and value."""

_OPPOSITES = """
    unsupported:supported unavailable:available unsafe:safe unaffected:affected unchanged:changed
    unconfirmed:confirmed unreliable:reliable unprofitable:profitable incompatible:compatible ineffective:effective
    invalid:valid incomplete:complete inactive:active insufficient:sufficient inconsistent:consistent
    inaccurate:accurate noncompliant:compliant insecure:secure impossible:possible illegal:legal disabled:enabled
"""
OPPOSITES = {word: base for word, _, base in (pair.partition(":") for pair in _OPPOSITES.split())}
"""Word → the one that it denies."""

NUMBERED = _words(
    """
    ticket version section page chapter figure table step phase option item case room line issue article type class
    grade day week year release station gate bus route highway lot batch sample stage tier python node task site
    unit block appendix annex part volume application invoice order scenario plan question experiment patient server
    """
)
"""Words that a bare number after them makes a name: `ticket 114`, `option A`."""
