"""Rules on claimed tool calls, personal data, agreed terms, order and depth of headings, long sentences, consistency."""

import pytest

from tasks.evidence import Evidence
from tasks.guardrails import check_rule

READ = Evidence(
    "1",
    "get_page",
    "The invoice was sent by e-mail to the supplier on 3 March. Ruiz deleted the old records in 2019.",
    '{"url": "https://acme.example/a"}',
)
TOOLS = ("get_page", "search_documents", "calculator", "send_email")


def _check(rule: str, setting: object, text: str) -> list[str]:
    return check_rule(rule, setting, text, lambda _: None)


def _claimed(text: str, *calls: str) -> list[str]:
    return check_rule(
        "claimed_calls", True, text, lambda _: None, evidence=[READ], calls=calls or ("get_page",), tools=TOOLS
    )


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("I searched the archive for newer figures.", ("search_archive", "find_files", "rag")),
        ("We also looked up the company.", ("lookup_company", "register_search")),
        ("I searched the web for newer figures.", ("web_search", "search", "google")),
        ("A web search turned up nothing newer.", ("web_search", "search")),
        ("Based on my search, prices rose.", ("search_documents",)),
        ("According to the search_documents tool, there are three.", ("search_documents",)),
        ("`search_documents` returned two matches.", ("search_documents",)),
        ("The stock_check tool returned nothing.", ("stock_check",)),
        ("We called the payments API.", ("payments_api", "get_payment")),
        ("I computed the totals.", ("calculator",)),
        ("I worked this out with the calculator, which confirmed it.", ("calculator",)),
        ("I ran the tests and they pass.", ("run_tests", "shell", "pythonRunner")),
        ("All 42 tests passed.", ("run_tests",)),
        ("I executed the script.", ("execute_code", "python")),
        ("I have sent the e-mail.", ("send_email", "mailer")),
        ("I've already notified the owner of the service.", ("notify", "post_message")),
        ("A reminder was sent to the whole team.", ("send_message", "slack")),
        ("Your flight has been booked.", ("book_flight",)),
        ("The refund has been issued to the customer.", ("refund", "payments")),
        ("Your money was refunded.", ("refund_order",)),
        ("I deleted the file.", ("delete_file",)),
        ("I have updated the record.", ("update_record",)),
        ("A ticket was created for the network team.", ("create_ticket",)),
        ("The report was saved to reports/out.md.", ("write_file", "save")),
        ("Report saved to reports/out.md.", ("write_file",)),
        ("- Sent the report to the finance team", ("send_mail",)),
        ("I have transferred the funds.", ("bank_transfer",)),
        ("Having searched the literature, I can say that it is so.", ("search_papers",)),
        ("I took the liberty of e-mailing the supplier.", ("email_send",)),
        ("I was able to query the database.", ("query_database",)),
        ("I managed to book a room.", ("book_room",)),
        ("The database has since been queried.", ("query_database",)),
        ("I cross-checked this with a web search.", ("web_search",)),
        ("I read the notes first, and then ran the tests.", ("run_tests",)),
    ],
)
def test_a_claimed_call_is_caught_unless_such_a_tool_was_called(text: str, calls: tuple[str, ...]) -> None:
    (reason,) = _claimed(text)
    assert reason.startswith("line 1: ")
    assert reason.endswith("; do it, or do not say that it was done")
    assert [_claimed(text, call) for call in calls] == [[]] * len(calls)


def test_what_is_wrong_is_told_with_the_sentence() -> None:
    assert _claimed("# Note\n\nAll is well. I have sent the e-mail.") == [
        'line 3: "I have sent the e-mail." says that something was sent, and no such tool was called; '
        "do it, or do not say that it was done"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "I fetched https://acme.example/b.",
        "I visited acme.example/b and read it.",
        "The page was retrieved from https://acme.example/b.",
        "I checked https://acme.example/b, and it agrees.",
    ],
)
def test_a_page_that_was_fetched_is_in_the_evidence(text: str) -> None:
    (reason,) = _claimed(text)
    assert "acme.example/b was read, and it never was" in reason
    assert _claimed(text.replace("example/b", "example/a")) == []


@pytest.mark.parametrize(
    "text",
    [
        "You should search the web for newer figures.",
        "I will search the web, and the e-mail will be sent tomorrow.",
        "I have not searched the web. I did not fetch the page. I never ran the tests.",
        "I sent no e-mail, and no file was deleted. Nothing was refunded.",
        "Did you search the web? Was the e-mail sent?",
        'She said, "I searched the web and found nothing."',
        "Search the documents first, then run the tests.",
        "The invoice was sent by e-mail to the supplier.",
        "The old records were deleted by Ruiz in 2019.",
        "Once the e-mail has been sent, close the ticket.",
        "I wrote a summary and created a table of the risks.",
        "I read this as a sign of weakness. I ran into a problem.",
        "If I had searched the web, I would know more.",
        "I recommend that the report be sent to the board.",
        "We saved 12 % of the cost and booked a profit.",
        "Tests are run every night by the build server.",
        "The company paid 3 million dollars. The plant was closed in 2020.",
        "The same tool call with the same arguments returned nothing.",
        "In this report I looked at three questions, removed a paragraph and changed the order of sections.",
        "Customers were notified by letter, says the city. The data were collected in 2024.",
        "Please note that no external search was carried out.",
        "I have reviewed the notes and summarised them.",
        "> I searched the web.",
        "```\nI searched the web.\n```\n\nText.",
    ],
)
def test_advice_plans_negations_quotations_and_what_others_did_are_no_claims(text: str) -> None:
    assert _claimed(text) == []


def test_an_input_or_a_task_with_a_tools_word_in_its_name_is_no_call() -> None:
    assert len(_claimed("I searched the archive.", "input search_terms", "task search", "person")) == 1


def test_a_search_of_documents_is_no_search_of_the_web() -> None:
    assert _claimed("I searched the documents.", "search_documents") == []
    assert len(_claimed("I searched the web.", "search_documents")) == 1


@pytest.mark.parametrize(
    ("kind", "found", "shown"),
    [
        ("email", "jane.doe+x@mail.example.org", "an e-mail address, j…@….org"),
        ("phone", "+49 30 1234567", "a telephone number, …67"),
        ("phone", "(555) 123-4567", "a telephone number, …67"),
        ("phone", "0171 2345678", "a telephone number, …78"),
        ("iban", "DE89 3704 0044 0532 0130 00", "a bank account number (IBAN), DE…"),
        ("iban", "GB82WEST12345698765432", "a bank account number (IBAN), GB…"),
        ("card", "4111 1111 1111 1111", "a card number, …11"),
        ("card", "378282246310005", "a card number, …05"),
        ("ssn", "123-45-6789", "a social security number, …89"),
        ("ip", "192.168.1.17", "an IP address, 192…"),
        ("ip", "2001:db8::8a2e:370:7334", "an IP address, 2001…"),
    ],
)
def test_personal_data_is_found_and_never_repeated(kind: str, found: str, shown: str) -> None:
    text = f"# Contact\n\nIt is {found}, as agreed."
    assert _check("no_personal_data", True, text) == [f"line 3: {shown}; leave it out"]
    assert _check("no_personal_data", [kind], text) == _check("no_personal_data", True, text)
    others = [other for other in ("email", "phone", "iban", "card", "ssn", "ip") if other != kind]
    assert _check("no_personal_data", others, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "On 2026-03-01, 01.03.2026, from 2020-2024, at 12:30:45.",
        "There are 1,234,567 or 1 250 000 of them, order 123456789, ISBN 978-3-16-148410-0.",
        "DE89 3704 0044 0532 0130 01 and 4111 1111 1111 1112 do not add up.",
        "Version 1.2.3.4 at 127.0.0.1 and ::1, not 999.1.1.1.",
        "See doi:10.1056/NEJMoa2202106, N Engl J 2022;387:299-309, +12 %, @name and a@b.",
        "http://a.example/1234567890123",
    ],
)
def test_what_only_looks_like_personal_data_passes(text: str) -> None:
    assert _check("no_personal_data", True, text) == []


def test_variants_of_an_agreed_term_are_named() -> None:
    terms = {"sign in": ["log in", "login"], "e-mail address": ["e-mail", "email address"], "customer": ["client"]}
    assert _check("glossary", terms, "Clients LOG  IN here.\nThe login is a client-side matter.") == [
        'line 1: "log in" is called "sign in" here',
        'line 1: "client" is called "customer" here',
        'line 2: "login" is called "sign in" here',
        'line 2: "client" is called "customer" here',
    ]
    assert (
        _check("glossary", terms, "Customers sign in with an e-mail address; clientele, blogin.\n\n```\nlogin\n```")
        == []
    )
    assert len(_check("glossary", terms, "Customers use an e-mail.")) == 1


def test_headings_must_stand_in_order() -> None:
    order = ["Summary", "Risks", "Sources"]
    assert _check("sections_in_order", order, "# 1. Summary\nx\n## More\nx\n# Risks\nx\n# Sources\nx") == []
    assert _check("sections_in_order", order, "# Risks\nx\n# Summary\nx\n# Source\nx") == [
        'line 1: section "Risks" stands before "Summary"; put it after that section',
        'section "Sources" is missing; is "Source" meant? The heading must read "Sources"',
    ]


def test_headings_may_not_be_too_deep_nor_skip_a_level() -> None:
    assert _check("heading_levels", 3, "## A\n### B\n## C\n# D\n## E") == []
    assert _check("heading_levels", 2, "# A\n### B\n## C") == [
        'line 2: the heading "B" has level 3; the deepest allowed is 2'
    ]
    assert _check("heading_levels", 3, "# A\n### B") == [
        'line 2: the heading "B" has level 3 below level 1; make it level 2'
    ]


def test_long_sentences_are_named() -> None:
    text = "One two three four five. One two three four five six [a.md:3].\n\n# One two three four five six"
    assert _check("sentence_words", 5, text) == [
        'line 1: "One two three four five six ." has 6 words; at most 5, so divide it'
    ]


def test_one_quantity_has_one_value_in_all_sections() -> None:
    text = "# Summary\n\nRevenue in 2025 was 4.2 million euros.\n\n# Details\n\nRevenue in 2025 was {} million euros.\n"
    assert _check("consistent", True, text.format("4.2")) == []
    (reason,) = _check("consistent", True, text.format("4.5"))
    assert reason.endswith("; keep the one that is right")
    for part in ("4.2 million", "section Summary, line 3", "4.5 million", "section Details, line 7"):
        assert part in reason
