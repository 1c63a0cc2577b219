"""`ogw import FILE`: whole scripts of the original's cmdlets, as PowerShell writes them, all or nothing."""

import codecs
import pathlib
import re
import subprocess

import pytest
from harness.commands import OGW, ROOT, clean
from harness.edits import Edited
from harness.gateway import Gateway
from hypothesis import example, given
from hypothesis import strategies as st

from ogw.cli.original.cmdlets import CMDLETS
from ogw.cli.original.powershell import Unreadable, Word, statements

SCRIPT = """\
<# An old gateway,
   exported #>
Import-Module OMSGateway   # the module
Set-OMSGatewayConfig -Name ListenPort -Value 8081
Set-OMSGatewayRelayProxy -Address "http://proxy.example:3128" `
    -Username 'shop''s gateway' -Password "a`"b `$5"
Add-OMSGatewayAllowedHost a.example; Add-OMSGatewayAllowedHost -Host:'b.example'
Remove-OMSGatewayAllowedHost a.example
Add-OMSGatewayAllowedClientCertificate -Subject "CN=till-7, O=Shop"
Get-OMSGatewayAllowedHost
Restart-Service OMSGatewayService
"""
BEFORE = "[ogw]\n# kept\nallowed-host = old.example\n"
AFTER = """\
[ogw]
# kept
allowed-host = old.example
    b.example
listen-port = 8081
relay-proxy = http://proxy.example:3128
relay-proxy-username = shop's gateway
relay-proxy-password-file = FOLDER/relay-proxy.password
allowed-client-certificate = CN=till-7, O=Shop
"""


@pytest.fixture
def file(tmp_path):
    return Edited(tmp_path, BEFORE)


@pytest.fixture
def script(tmp_path):
    return tmp_path / "gateway.ps1"


@pytest.mark.parametrize(
    "contents",
    [
        SCRIPT.encode(),
        codecs.BOM_UTF8 + SCRIPT.replace("\n", "\r\n").encode(),
        codecs.BOM_UTF16_LE + SCRIPT.replace("\n", "\r\n").encode("utf-16-le"),
        codecs.BOM_UTF16_BE + SCRIPT.encode("utf-16-be"),
        SCRIPT.replace("\n", "\r").encode(),
        SCRIPT.rstrip().encode(),
    ],
    ids=["utf-8", "utf-8 with a mark", "utf-16", "utf-16 the other way round", "an old Mac", "no line end"],
)
def test_a_whole_script_becomes_the_file_it_says_line_by_line(file, script, contents):
    script.write_bytes(contents)
    end = file.run("import", script)
    assert end.returncode == 0, end
    assert file.text == AFTER.replace("FOLDER", str(file.folder))
    assert (file.folder / "relay-proxy.password").read_text() == 'a"b $5\n'
    assert end.stdout.splitlines()[:9] == [
        "3: Import-Module -> nothing",
        "4: Set-OMSGatewayConfig -> ogw config set listen-port 8081",
        "5: Set-OMSGatewayRelayProxy -> ogw relay-proxy set http://proxy.example:3128 --username "
        "'shop'\"'\"'s gateway' --password-stdin",
        "7: Add-OMSGatewayAllowedHost -> ogw allowed-host add a.example",
        "7: Add-OMSGatewayAllowedHost -> ogw allowed-host add b.example",
        "8: Remove-OMSGatewayAllowedHost -> ogw allowed-host remove a.example",
        "9: Add-OMSGatewayAllowedClientCertificate -> ogw allowed-client-certificate add 'CN=till-7, O=Shop'",
        "10: Get-OMSGatewayAllowedHost -> nothing: the cmdlet only shows something (ogw allowed-host list)",
        "11: Restart-Service -> ogw reload, at the end, with --reload",
    ]
    assert "b $5" not in end.stdout + end.stderr
    assert len(file.changes) == 1
    again = file.run("import", script)
    assert again.returncode == 0 and file.text == AFTER.replace("FOLDER", str(file.folder)), again


def test_standard_input_is_a_script_too(file):
    where = {"OGW_CONFIG": str(file.path), "OGW_RUN_DIR": str(file.folder), "OGW_LOG_FILE": str(file.log)}
    end = subprocess.run(
        [*OGW, "import", "-"], input=SCRIPT.encode(), env=clean(**where), cwd=ROOT, capture_output=True, timeout=60
    )
    assert (end.returncode, file.text) == (0, AFTER.replace("FOLDER", str(file.folder))), end


def test_a_dry_run_shows_the_same_and_changes_nothing(file, script):
    script.write_text(SCRIPT)
    said = file.done("import", script, "--dry-run")
    assert "+ listen-port 8081" in said and "+ allowed-host b.example" in said
    assert file.text == BEFORE and sorted(path.name for path in file.folder.iterdir()) == ["gateway.ps1", "ogw.ini"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("Stop-Computer", "'Stop-Computer' is none of the original's cmdlets"),
        ("Add-OMSGatewayAllowedHost", "-Host is missing"),
        ("Add-OMSGatewayAllowedHost $name", "variables are not understood"),
        ('Add-OMSGatewayAllowedHost "$name"', "variables are not understood"),
        ("Add-OMSGatewayAllowedHost 'a.example", "a quote is not closed"),
        ("<# never ends", "the comment that begins with <# has no end #>"),
        ("Get-OMSGatewayAllowedHost | Out-Null", "| belongs to programs"),
        ("Add-OMSGatewayAllowedHost (Get-Content hosts)", "( belongs to programs"),
        ("Add-OMSGatewayAllowedHost a.example, b.example", ", belongs to programs"),
        ("Add-OMSGatewayAllowedHost -Host '*'", "allowed-host: host rule '*': a star needs two labels behind it"),
        ("Add-OMSGatewayAllowedHost -Host 'a.example\nb.example'", "allowed-host: a value is one line"),
        ("Set-OMSGatewayConfig ListenPort 99999", "listen-port: '99999': it must be from 1 to 65535"),
        ("Set-OMSGatewayConfig Cache 9", "ogw does not know the key 'Cache'"),
        ("Restart-Service Spooler", "the service 'Spooler' is not the gateway's"),
    ],
)
def test_one_line_that_is_not_understood_and_nothing_is_changed(file, script, line, says):
    script.write_text(SCRIPT + line)
    end = file.run("import", script)
    assert end.returncode == 1, end
    assert f"gateway.ps1:12: {says}" in end.stderr and "nothing was changed" in end.stderr
    assert "Traceback" not in end.stderr
    assert file.text == BEFORE and not file.changes
    assert not (file.folder / "relay-proxy.password").exists()


def test_every_line_that_is_wrong_is_told_at_once(file, script):
    script.write_text("One-Thing\nGet-OMSGatewayConfig\nOther-Thing\n")
    told = file.told("import", script, code=1)
    assert "gateway.ps1:1: 'One-Thing'" in told and "gateway.ps1:3: 'Other-Thing'" in told
    script.write_text("Add-OMSGatewayAllowedHost *\nSet-OMSGatewayConfig ListenPort x\n")
    told = file.told("import", script, code=1)
    assert (
        "gateway.ps1:1: allowed-host: host rule '*': a star needs" in told and "gateway.ps1:2: listen-port: 'x'" in told
    )


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('Add-OMSGatewayAllowedClientCertificate "p$"', "p$"),
        ('Add-OMSGatewayAllowedClientCertificate "a$ b$-$.c"', "a$ b$-$.c"),
        ("Add-OMSGatewayAllowedClientCertificate p$", "p$"),
        ("Add-OMSGatewayAllowedClientCertificate till@shop.example", "till@shop.example"),
        ('Add- OMSGatewayAllowedClientCertificate -Subject "p`$x"', "p$x"),
        ("Get-Module OMSGateway\nAdd-OMSGatewayAllowedClientCertificate a; Write-Host 'done'", "a"),
    ],
)
def test_what_powershell_takes_as_it_stands_is_taken_so(file, script, line, value):
    script.write_text(line)
    file.done("import", script)
    assert f"allowed-client-certificate = {value}\n" in file.text


@pytest.mark.parametrize("word", ['"p$x"', '"$$"', '"a$(1)"', '"${a}"', '"$?"', '"$env:A"', "p$x", "$_"])
def test_a_variable_is_not_a_value(file, script, word):
    script.write_text(f"Add-OMSGatewayAllowedClientCertificate {word}")
    assert "variables are not understood" in file.told("import", script, code=1)


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (b"\xff\xfeA", "not a text file in UTF-8"),
        (b"Add-OMSGatewayAllowedHost \xe9.example", "not a text file in UTF-8"),
        (b"\0\0\0", "not a script of cmdlets"),
        (b"#" * (1 << 21), "not a script of cmdlets"),
    ],
)
def test_what_is_no_script_is_said(file, script, contents, says):
    script.write_bytes(contents)
    assert says in file.told("import", script, code=1)
    assert "No such file" in file.told("import", file.folder / "nothing", code=1)
    assert "Is a directory" in file.told("import", file.folder, code=1)
    assert file.text == BEFORE


def test_an_empty_script_changes_nothing(file, script):
    script.write_text("\n# nothing\n")
    assert file.done("import", script) == ""
    assert file.text == BEFORE


def test_reload_lets_the_running_gateway_take_it(file, script):
    script.write_text("Add-OMSGatewayAllowedHost new.example\nRestart-Service OMSGatewayService\n")
    with Gateway("--config", str(file.path)) as gateway:
        said = file.done("import", script, "--reload", OGW_RUN_DIR=gateway.run_dir)
        assert "reloaded, changed: allowed-host" in said
        assert gateway.wait_for(message="the configuration was changed")["added"] == ["allowed-host new.example"]
    assert "no gateway to ask" in file.told("import", script, "--reload", code=3)


def test_the_exporter_prints_only_what_import_understands():
    text = (pathlib.Path(ROOT) / "conf/powershell/export-gateway.ps1").read_text()
    known = {cmdlet.name: [one.strip("!") for one in cmdlet.parameters] for cmdlet in CMDLETS}
    assert text.isascii()  # Windows' own PowerShell reads anything else wrongly
    for name in re.findall(r"[A-Z][a-z]+-OMSGateway\w+", text):
        assert name in known
    printed = re.findall(r'"([A-Z][a-z]+-OMSGateway\w+)((?: -\w+ \S+)*)', text)
    assert len(printed) == 4
    for name, words in printed:
        assert set(re.findall(r"-([A-Z]\w+)", words)) - {"OMSGatewayConfig"} <= set(known[name])


def quoted(text):
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", text) + "'"


@given(
    st.lists(st.lists(st.text(), min_size=1, max_size=4), max_size=5), st.sampled_from([";", "\n", " # x\n", "\r\n"])
)
@example([["'", "\u2019", "`", "$", '"', "", "a;b", "#"]], ";")
def test_values_in_single_quotes_come_out_as_they_went_in(lines, separator):
    script = separator.join(" ".join(map(quoted, words)) for words in lines)
    assert [words for _line, words in statements(script)] == lines
    assert all(isinstance(word, Word) for _line, words in statements(script) for word in words)


@given(st.text(alphabet=st.sampled_from(" \n\r;'\"`#<>$-:ab\u2019\u201c\0|") | st.characters(), max_size=60))
@example("`")
@example('"`')
@example("a`")
@example("''")
def test_any_text_is_read_or_said_to_be_unreadable_with_a_line_that_is_there(text):
    try:
        found = list(statements(text))
    except Unreadable as error:
        assert 1 <= error.line <= text.count("\n") + 1
    else:
        assert all(1 <= line <= text.count("\n") + 1 and words for line, words in found)
