"""Secrets: which variables hold them, and how they are taken out of texts, by value and by shape."""

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project.errors import AppError
from project.secrets import (
    HIDDEN,
    Redactor,
    check_secrets_set,
    host_environment,
    is_secret_name,
    make_redactor,
    secret_values,
    without_shapes,
)
from project.spec_policy import PolicySpec
from tests.project.folder import load, write

VALUE = 'p4ss/w"ord+ß$\\x'
SECRETS = st.text(st.characters(codec="utf-8", exclude_characters=" \n\r\t"), min_size=12, max_size=40).filter(
    lambda text: text.strip() == text and len(text.split()) == 1
)


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        quote(VALUE),
        quote(VALUE, safe=""),
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False),
        json.dumps(json.dumps(VALUE)),
        base64.b64encode(VALUE.encode()).decode(),
        base64.b64encode(f"user:{VALUE}".encode()).decode(),
        base64.urlsafe_b64encode(f"me:{VALUE} and more".encode()).decode(),
        VALUE.encode().hex(),
        repr({"a": VALUE}),
    ],
)
def test_a_value_is_taken_out_in_every_form(text: str) -> None:
    found = Redactor([VALUE]).text(f"before {text} after")
    assert HIDDEN in found
    assert text not in found
    assert found.startswith("before ")
    assert found.endswith(" after")


@given(SECRETS, st.text(max_size=30), st.text(max_size=30))
def test_no_value_survives(value: str, before: str, after: str) -> None:
    redactor = Redactor([value])
    for form in (
        value,
        base64.b64encode((before + value).encode("utf-8", "surrogatepass")).decode(),
        json.dumps(value),
    ):
        found = redactor.value({"said": [before + form + after]})["said"][0]
        assert form.strip('"') not in found


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(alphabet="abc \n.", max_size=40),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="abc", max_size=5), inner),
    )
)
def test_what_holds_no_secret_stays_the_very_same(value: object) -> None:
    assert Redactor(["s3cr3t-of-mine", "12345678"]).value(value) is value


SHAPED = {
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----": HIDDEN,
    "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc_def-12 sent": f"token {HIDDEN} sent",
    "Authorization: Bearer abcdef123456789": f"Authorization: Bearer {HIDDEN}",
    "authorization: Basic dXNlcjpwYXNzd29yZA==": f"authorization: Basic {HIDDEN}",
    "aws_secret_access_key = wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYZZ": f"aws_secret_access_key = {HIDDEN}",
    "AKIAIOSFODNN7EXAMPLE": HIDDEN,
    "postgresql://app:pa55w0rd@db/app": f"postgresql://app:{HIDDEN}@db/app",
    "password=hunter22": f"password={HIDDEN}",
    '{"api_key": "abc123def456"}': f'{{"api_key": "{HIDDEN}"}}',
    '{\\"password\\": \\"abc123xyz\\"}': f'{{\\"password\\": \\"{HIDDEN}\\"}}',
    "https://a.b/c?access_token=abc12345&x=1": f"https://a.b/c?access_token={HIDDEN}&x=1",
    "sk-proj-abc123def456ghi789": HIDDEN,
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789": HIDDEN,
    "xoxb-123456789012-abcdefghijkl": HIDDEN,
}


@pytest.mark.parametrize("text", SHAPED)
def test_what_is_shaped_as_a_secret_is_taken_out(text: str) -> None:
    assert without_shapes(text) == SHAPED[text]
    assert without_shapes(SHAPED[text]) == SHAPED[text]


@pytest.mark.parametrize(
    "text",
    [
        "sk-solar-panels-and-more-words",
        "The bearer of this letter is a friend of the family",
        "max_tokens=100000",
        "next_page_token: CAUQAA12345",
        "https://host:8080/path@here",
        "a token: short",
        "the password is asked for twice",
        "12:30 to 14:45, key: value",
        "PWD=/work/main2/x",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert without_shapes(text) is text


def test_a_key_of_json_says_that_its_value_is_a_secret() -> None:
    found = Redactor().value(
        {"password": "abc12345", "page_token": "abc12345", "nested": [{"client_secret": "q1w2e3r4"}]}
    )
    assert found == {"password": HIDDEN, "page_token": "abc12345", "nested": [{"client_secret": HIDDEN}]}


def test_the_policy_adds_patterns() -> None:
    redactor = make_redactor({}, PolicySpec(redact=[r"CASE-\d+", r"x*"]))
    assert redactor.text("see CASE-123 now") == f"see {HIDDEN} now"
    with pytest.raises(AppError, match="is no regular expression") as raised:
        make_redactor({}, PolicySpec(redact=["("]))
    assert raised.value.exit_code == 3


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True),
        ("MUSTER_JOURNAL_KEY", True),
        ("MUSTER_DATABASE_URL", True),
        ("db.password", True),
        ("SMTP_PASSWORD2", True),
        ("GITHUB_TOKEN", True),
        ("KEYBOARD", False),
        ("MONKEY", False),
        ("MAX_TOKENS", False),
        ("SSH_KEY_PATH", False),
        ("PWD", False),
        ("PATH", False),
    ],
)
def test_a_name_says_whether_a_variable_holds_a_secret(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_of_variables_called_so_only_what_may_be_a_secret_counts() -> None:
    environment = {
        "A_TOKEN": "t0ken-value",
        "B_TOKEN": "enabled",
        "C_KEY": "/home/me/key.pem",
        "D_KEY": "10000",
        "E_KEY": "abc",
        "LOGIN": "me@example.org",
        "DATABASE_URL": "postgresql://me:passw0rd@db/x",
        "MUSTER_JOURNAL_KEY": "first-key-0001,second-key-0002",
    }
    found = secret_values(environment, ["LOGIN"])
    assert set(found) == {
        "t0ken-value",
        "me@example.org",
        "postgresql://me:passw0rd@db/x",
        "passw0rd",
        "first-key-0001,second-key-0002",
        "first-key-0001",
        "second-key-0002",
    }


def test_a_host_sees_no_secret_but_its_own() -> None:
    environ = {"PATH": "/bin", "A_TOKEN": "t", "LOGIN": "me", "HOME": "/root", "MUSTER_AUDIT_KEY": "k"}
    assert host_environment(environ, {"LOGIN"}, {"A_TOKEN": "t"}) == {"PATH": "/bin", "HOME": "/root", "A_TOKEN": "t"}


def test_a_declared_secret_must_be_set() -> None:
    policy = PolicySpec.model_validate({"tools": {"post": {"secrets": ["POST_TOKEN"]}}})
    check_secrets_set(policy, ["other"], {})
    check_secrets_set(policy, ["post"], {"POST_TOKEN": "x1"})
    with pytest.raises(AppError) as raised:
        check_secrets_set(policy, ["post"], {"POST_TOKEN": " "})
    assert str(raised.value) == "the tool `post` is given the secret `POST_TOKEN`, which is not set"
    assert raised.value.fixes() == ["write POST_TOKEN=... into .env, or set it in the environment"]
    assert raised.value.exit_code == 3


TOOL = '''
import os
from os import environ
from muster import tool

REGION = os.getenv("REGION")


def _token():
    return environ["SHARED_TOKEN"]


@tool(effect="send")
def post(text: str) -> str:
    """Post."""
    return os.environ["POST_TOKEN"] + os.environ.get("HOME", "") + os.environ.get("OTHER_KEY", "")
'''


def test_check_notes_secrets_that_a_tool_reads_and_is_not_given(tmp_path: Path) -> None:
    files = {"config/policy.yaml": "tools: {post: {secrets: [POST_TOKEN]}}\n", "tools/post.py": TOOL}
    notes = [str(note) for note in load(write(tmp_path / "project", files)).notes]
    given = (
        "`post` is not given `{0}`: secrets are kept from tools; "
        "`tools: {{post: {{secrets: [{0}]}}}}` in policy.yaml gives it"
    )
    assert [note for note in notes if "is not given" in note] == [
        f"tools/post.py:10:12: _token: {given.format('SHARED_TOKEN')}",
        f"tools/post.py:16:68: post: {given.format('OTHER_KEY')}",
    ]
