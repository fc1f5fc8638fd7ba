"""Real pairs: the catalogue reader against the standard library's, the cleaning by hand, no sentence in two splits."""

import gettext
import re
import struct
from collections import Counter

import pytest
import sacrebleu

from attnlab.data import translation
from attnlab.data.translation import Pair, clean, read_mo, tokenise


@pytest.fixture(scope="module")
def data():
    return translation.load()


def mo_file(path, strings, order="<"):
    """A compiled catalogue, written out by the layout in gettext's manual."""
    strings = [("", "Content-Type: text/plain; charset=UTF-8\n"), *strings]
    n, blob, tables = len(strings), b"", [[], []]
    for pair in strings:
        for table, text in zip(tables, pair, strict=True):
            table.append((len(text.encode()), 28 + 16 * n + len(blob)))
            blob += text.encode() + b"\0"
    head = struct.pack(order + "7I", 0x950412DE, 0, n, 28, 28 + 8 * n, 0, 0)
    flat = [number for table in tables for entry in table for number in entry]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + struct.pack(f"{order}{4 * n}I", *flat) + blob)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_catalogue_is_read_in_both_byte_orders(tmp_path, order):
    strings = [("Open file", "打开文件"), ("menu\x04Close", "关闭"), ("one day\0%d days", "一天\0%d 天")]
    path = mo_file(tmp_path / "x.mo", strings, order)
    assert list(read_mo(path)) == [("Open file", "打开文件"), ("Close", "关闭"), ("one day", "一天")]


def test_catalogue_reads_as_the_standard_library_reads_it():
    (path,) = (path for path in translation.catalogues("jupyterlab", "zh") if path.name == "jupyterlab_git.mo")
    with open(path, "rb") as file:
        oracle = gettext.GNUTranslations(file)
    contexts = {text.split("\x04")[1] for text in oracle._catalog if isinstance(text, str) and "\x04" in text}
    compared = [(oracle.gettext(e), t) for e, t in read_mo(path) if e not in contexts and oracle.gettext(e) != e]
    assert len(compared) > 100 and all(expected == got for expected, got in compared)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 not a catalogue at all, but long enough", b"\xde\x12\x04\x95\0\0"]
)
def test_a_broken_catalogue_is_named(tmp_path, content):
    path = tmp_path / "broken.mo"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.mo is not a compiled gettext catalogue"):
        list(read_mo(path))


def test_tokens_by_hand():
    assert tokenise("Don't Save JupyterLab 4.5, please!") == ("don't", "save", "jupyterlab", "4.5", ",", "please", "!")
    assert tokenise("打开 Markdown 文件。") == ("打", "开", "markdown", "文", "件", "。")
    assert tokenise("L’été re-commence…") == ("l’été", "re-commence", "…")


def test_cleaning_by_hand():
    kept = [("Open the file", "打开文件"), ("Close all the tabs.", "关闭所有标签。")]
    dropped = [
        ("Open it", "打开它们"),  # two words
        (" ".join(["word"] * 21), "词" * 21),  # twenty-one
        ("open the FILE!", "打开这个文件"),  # again, but for case and punctuation
        ("Delete %d old files", "删除 %d 个旧文件"),
        ("Delete %(n)s old files", "删除旧文件"),
        ("Delete {name} for ever", "删除文件"),
        ("Delete <b>all</b> of it", "删除全部"),
        ("See https://jupyter.org for more", "更多信息"),
        ("Use the `kernel` option here", "使用选项"),
        ("Pass the option --force here", "使用选项"),
        ("Save &As a file", "另存为文件"),
        ("Jupyter Notebook Server", "Jupyter Notebook Server"),  # not translated
        ("Jupyter Lab Server", "Jupyter Laboratory"),  # not Chinese
        ("Not translated at all", ""),
    ]
    assert clean(kept + dropped, "zh") == [Pair(tokenise(e), tokenise(t)) for e, t in kept]


def test_every_pair_is_clean(data):
    for pair in data.train + data.valid + data.test:
        words = [token for token in pair.source if token[0].isalnum()]
        assert 3 <= len(words) <= 20
        assert not re.search(r"[<>{}%`|\\]", "".join(pair.source).replace("%", "", "100%" in pair.source))
        assert any("\u3400" <= token <= "\u9fff" for token in pair.target)


def words(pair):
    return tuple(token for token in pair.source if token[0].isalnum())


def test_no_test_sentence_was_seen_in_training_but_for_punctuation(data):
    splits = [{words(pair) for pair in split} for split in (data.train, data.valid, data.test)]
    assert sum(map(len, splits)) == len(data.train) + len(data.valid) + len(data.test) == len(set().union(*splits))
    assert len(data.train) > 1_000 and len(data.test) > 150


def test_no_test_sentence_has_a_near_copy_in_training(data):
    train = [set(words(pair)) for pair in data.train]
    for pair in data.valid + data.test:
        bag = set(words(pair))
        assert max(2 * len(bag & other) / (len(bag) + len(other)) for other in train) <= 0.75


def test_a_pair_just_alike_enough_goes_and_one_just_below_stays():
    held_out = [Pair(("a", "b", "c", "d"), ("x",))]
    four_of_five, three_of_four = Pair(("a", "b", "c", "d", "e"), ("y",)), Pair(("a", "b", "c", "f"), ("z",))
    assert translation._unlike([four_of_five, three_of_four], held_out) == [three_of_four]


def test_several_packages_and_other_languages_are_used_where_installed(data):
    both = translation.load(packages=("jupyterlab", "sphinx"))
    assert len(both.train) > len(data.train) + 100
    assert both.licence == "jupyterlab BSD-3-Clause, sphinx BSD-2-Clause"
    french = translation.load(language="fr", packages=("sphinx",))
    assert "fichier" in french.vocabularies["target"]
    assert data.baseline and not french.baseline and "baseline" not in french.describe()  # none was measured


def test_a_package_found_on_the_path_is_read(tmp_path, monkeypatch):
    strings = [(f"{a}1 {a}2 {a}3", f"{a}4 {a}5") for a in "abcdefghijkl"]
    mo_file(tmp_path / "wagtail" / "admin" / "locale" / "fr" / "LC_MESSAGES" / "django.mo", strings)
    (tmp_path / "wagtail" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    data = translation.load(language="fr", packages=("wagtail",))
    assert (len(data.train), len(data.test)) == (10, 1) and data.licence == "wagtail BSD-3-Clause"


def test_your_own_pairs_are_read(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(
        b"\xef\xbb\xbf" + b"".join(b"a%d b%d sentence\tein Satz %d\tCC-BY\r\n\n" % (i, i, i) for i in range(20))
    )
    data = translation.load_file(path, language="de")
    assert len(data.train) + len(data.valid) + len(data.test) == 20
    assert data.train[0].source[2] == "sentence" and data.train[0].target[:2] == ("ein", "satz")


def test_errors_are_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="no catalogues are known in 'emacs'; known are jupyterlab, sphinx"):
        translation.load(packages=("emacs",))
    with pytest.raises(ImportError, match="jupyterlab-language-pack-xx-XX, which is not installed: pip install"):
        translation.load(language="xx")
    with pytest.raises(ValueError, match=r"size must be at most 1,\d\d\d, which is all there is"):
        translation.load(size=100_000)
    path = tmp_path / "pairs.tsv"
    path.write_text("a b c\tx y z\nno tab here\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"pairs\.tsv, line 2: expected English, a tab and the translation, got 'no tab"
    ):
        translation.load_file(path)
    path.write_bytes(b"a b c\tx y z\n\xff\xfe\t\n")
    with pytest.raises(ValueError, match=r"pairs\.tsv, line 2: not UTF-8"):
        translation.load_file(path)
    path.write_text("a b c\tx y z\n", encoding="utf-8")
    with pytest.raises(ValueError, match="only 1 of 1 pairs are fit to learn from"):
        translation.load_file(path, language="de")


def test_baseline_is_as_described(data):
    def nearest(source):
        bag = Counter(source)
        return max(
            data.train, key=lambda p: (2 * (bag & Counter(p.source)).total()) / (len(source) + len(p.source))
        ).target

    guesses = [" ".join(nearest(pair.source)) for pair in data.test]
    bleu = sacrebleu.corpus_bleu(guesses, [[" ".join(p.target) for p in data.test]], tokenize="none", force=True).score
    said = float(re.search(r"BLEU about (\d+)", data.baseline)[1])
    assert abs(bleu - said) < 3  # another edition of the language pack moves it a little
