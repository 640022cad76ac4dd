"""Reading a page back: its tags, its words, its sections and figures; and renaming what is in a report."""

import json
import re
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "input"}


class Tags(HTMLParser):
    """Every start tag with its attributes, and all text; fails on unbalanced elements."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def parsed(page):
    parser = Tags()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def words(page):
    """What the page says, white space made plain."""
    return " ".join("".join(parsed(page).text).split())


def section(page, anchor):
    """One section's HTML; empty where the page has none."""
    found = re.search(rf'<section id="{anchor}".*?</section>', page, flags=re.DOTALL)
    return found[0] if found else ""


def charts(page):
    return re.findall(r'<svg class="chart".*?</svg>', page, flags=re.DOTALL)


def renamed(value, names, suffix):
    text = json.dumps(value)
    for name in names:
        text = text.replace(name, f"{name}{json.dumps(suffix)[1:-1]}")
    return json.loads(text)
