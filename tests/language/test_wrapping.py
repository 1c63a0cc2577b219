"""Lines of a terminal: none is too wide, no word is broken, nothing is lost."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ogw.language.wrapping import cells, filled_up, wrap

TEXTS = [
    "Print the path of the INI file that commands edit, with `ogw config path` and no other word than these two.",
    "Affiche le chemin du fichier INI\N{NO-BREAK SPACE}: c'est celui que modifient les commandes « ogw config set ».",
    "ゲートウェイの設定を `ogw run` と同じように確認し、すべての誤りをその場所とともに表示します（--config FILE）。",
    "检查整个配置，并指出每个错误所在的位置。端口是否空闲、主机能否访问，由 `ogw doctor` 检查。",
    "게이트웨이가 설정을 다시 읽게 합니다. 전체를 읽거나, 잘못이 있으면 전혀 읽지 않습니다.",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("width", [24, 40, 78])
def test_lines_are_as_wide_as_asked_and_say_all(text, width):
    lines = wrap(text, width, "* ", "  ")
    assert all(cells(line) <= width for line in lines), lines
    assert lines[0].startswith("* ") and all(line.startswith("  ") for line in lines[1:])
    said = "".join(line[2:] for line in lines)
    assert re.sub("[ \n]", "", said) == re.sub("[ \n]", "", text)
    assert not [line for line in lines if line[2:3] in set("、。，）」") or line[-1] in "（「"]


@pytest.mark.parametrize("width", [3, 10, 20])
def test_what_is_typed_is_never_broken(width):
    text = "次を実行します：--relay-proxy-username-file https://proxy.example.com:3129/a/b 及び --yes"
    lines = wrap(text, width)
    for word in ("--relay-proxy-username-file", "https://proxy.example.com:3129/a/b", "--yes"):
        assert [line for line in lines if word in line], lines


def test_a_no_break_space_is_not_broken():
    assert wrap("été\N{NO-BREAK SPACE}: oui", 4) == ["été\N{NO-BREAK SPACE}:", "oui"]


@given(some.text(max_size=200), some.integers(1, 60))
def test_any_text_is_said_whole(text, width):
    said = "".join(wrap(text, width))
    kept = re.compile(r"[\s\x1c-\x1f]")
    assert kept.sub("", said) == kept.sub("", text)


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("été", 3), ("e\u0301", 1), ("日本", 4), ("ｱ", 1), ("", 0)])
def test_how_wide_a_text_is(text, width):
    assert cells(text) == width
    assert cells(filled_up(text, 10)) == 10
