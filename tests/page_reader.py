"""A page as a reader's program sees it: is it well-formed, harmless, and which text does it show?"""

import re
from collections import Counter
from html.parser import HTMLParser

OUR_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "small", "bdi", "dl", "div", "dt", "dd"),
    *("p", "span", "i", "b", "s", "table", "thead", "tbody", "tr", "th", "td", "a", "section", "details", "summary"),
    *("ol", "li", "del", "ins"),
}
VOID = {"meta", "link", "img", "input"}


class Page(HTMLParser):
    """The page as a reader's program sees it: refuses what is not well-formed, keeps the documents' text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.originals: list[str] = []
        self.edited: list[str] = []
        self.edit_ids: list[str] = []
        self.text_depth: int | None = None
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.seen[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if ("class", "text") in attrs:
            self.text_depth = len(self.open)
            self.originals.append("")
            self.edited.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        if len(self.open) == self.text_depth:
            self.text_depth = None
        self.open.pop()

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data!r}")

    def handle_data(self, data):
        if self.text_depth is not None:
            if "ins" not in self.open:
                self.originals[-1] += data
            if "del" not in self.open:
                self.edited[-1] += data


def assert_harmless(html: str, page: Page) -> None:
    assert set(page.seen) <= OUR_TAGS
    for tag, name, value in page.attributes:
        assert name in {"lang", "charset", "http-equiv", "content", "name", "class", "id", "title", "href", "dir"}
        if name == "href":
            assert re.fullmatch(r"#d\d+(-\d+)?", value)
        if tag in ("i", "b") and name == "title":
            assert re.fullmatch(r"(P [\d.e-]+|not scored) #\d+(-\d+)?", value)
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "default-src 'none'" in html and "unsafe-inline" not in html
