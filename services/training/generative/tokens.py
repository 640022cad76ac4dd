"""A small vocabulary in CLIP's form: byte-level pairs, learned from the captions that the platform can write.

Any text can be spelt in it, since every byte is a token; captions cost about one token a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"


def train_tokenizer(captions: Iterable[str], *, vocabulary: int, limit: int, folder: Path) -> CLIPTokenizer:
    """Learn from lower-cased captions, write vocab.json, merges.txt and their configuration, and read them back."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END, continuing_subword_prefix=""))
    # CLIP's own splitting: words, single digits, runs of other signs.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_pattern(), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=alphabet,
        end_of_word_suffix=_WORD_END,
        show_progress=False,
        special_tokens=[],
    )
    tokenizer.train_from_iterator((caption.lower() for caption in captions), trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    # As in CLIP's own vocabulary: every byte, every byte that ends a word, then the merges, the two marks last.
    merges = [tuple(merge) for merge in learned["merges"]]
    words = alphabet + [sign + _WORD_END for sign in alphabet] + ["".join(merge) for merge in merges] + [START, END]
    vocab = {word: index for index, word in enumerate(dict.fromkeys(words))}
    made = CLIPTokenizer(
        vocab=vocab,
        merges=cast("Any", merges),  # pairs, though its annotation says lines
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=limit,
    )
    made.save_pretrained(folder)
    return made


def _pattern() -> Regex:
    return Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")
