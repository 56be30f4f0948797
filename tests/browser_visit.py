"""Opens a page in a headless Chromium as a reader would, and says what happened.

Run by the Python of the browser environment:

    .venv-browser/bin/python tests/browser_visit.py ADDRESS CHROMIUM [FOLDER]

Prints JSON: what the console said, what was requested, and by width and colour scheme how wide the page is, which text
has too little contrast, which links lead nowhere. In FOLDER: WIDTH-SCHEME-SCREEN.png,
with all details open, too.
"""

import json
import os
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

WIDTHS, HEIGHT, SCHEMES = (1280, 360), 1600, ("light", "dark")
MOST_SCREENS = 12

# Every element with text of its own: its colour on what is painted behind it. Text is measured as it is shown: opaque.
LOW_CONTRAST = """() => {
  const parse = color => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return color.startsWith('color(') ? [255 * r, 255 * g, 255 * b, a] : [r, g, b, a];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const behind = element => {
    if (!element) return [255, 255, 255, 1];
    const own = parse(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, behind(element.parentElement));
  };
  const light = channels => {
    const [r, g, b] = channels.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  for (const element of document.querySelectorAll('body *')) {
    const has_text = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!has_text || !element.checkVisibility({visibilityProperty: true})) continue;
    const paper = behind(element);
    const [ink, back] = [light(over(parse(getComputedStyle(element).color), paper)), light(paper)];
    const ratio = (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
    const name = `${element.tagName}.${element.className} ${element.textContent.slice(0, 40)}`;
    if (ratio < 4.5) low.push(`${name} ${ratio.toFixed(2)}`);
  }
  return low;
}"""
OPEN_ALL = "() => document.querySelectorAll('details').forEach(each => { each.open = true })"
DEAD_LINKS = """() => [...document.querySelectorAll('a[href^="#"]')].map(link => link.getAttribute('href'))
  .filter(href => !document.getElementById(decodeURIComponent(href.slice(1))))"""
# Rows of lists that a reader sees, by class.
SHOWN = "() => [...document.querySelectorAll('tr.cell')].filter(row => row.checkVisibility()).map(row => row.className)"


def photograph(page, folder: Path | None, name: str) -> None:
    """Screen after screen, as far as the browser can on a busy machine; nothing without a folder."""
    if folder is None:
        return
    height = page.evaluate("() => document.documentElement.scrollHeight")
    for screen in range(min(MOST_SCREENS, -(-height // HEIGHT))):
        page.evaluate(f"() => scrollTo(0, {screen * HEIGHT})")
        for _ in range(3):
            try:
                page.screenshot(path=folder / f"{name}-{screen:02}.png")
                break
            except Error as error:  # "Unable to capture screenshot", now and then
                print(name, screen, error.message.splitlines()[0], file=sys.stderr)


def visit(address: str, chromium: Path, screenshots: Path | None) -> dict:
    said, requests, views = [], [], {}
    libraries = {**os.environ, "LD_LIBRARY_PATH": str(chromium.parent / "lib")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, env=libraries, args=["--disable-gpu"])

        def open_page(width: int, scheme: str):
            page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: requests.append(request.url[:200]))
            page.goto(address)
            return page

        for width in WIDTHS:
            for scheme in SCHEMES:
                page = open_page(width, scheme)
                photograph(page, screenshots, f"{width}-{scheme}")
                page.evaluate(OPEN_ALL)
                photograph(page, screenshots, f"{width}-{scheme}-open")
                pictures = page.evaluate("() => [...document.images].map(image => image.naturalWidth)")
                views[f"{width}-{scheme}"] = {
                    "page_width": page.evaluate("() => document.documentElement.scrollWidth"),
                    "low_contrast": page.evaluate(LOW_CONTRAST),
                    "pictures": pictures,
                    "paper": page.evaluate("() => getComputedStyle(document.body).backgroundColor"),
                }
                page.close()

        page = open_page(*WIDTHS[:1], SCHEMES[0])
        result = {"dead_links": page.evaluate(DEAD_LINKS), "views": views, "choices": {}}
        for button in page.query_selector_all("input[type=radio]"):
            button.check()
            result["choices"][button.get_attribute("id")] = page.evaluate(SHOWN)
        page.keyboard.press("Home")
        page.evaluate("() => document.activeElement.blur()")
        page.keyboard.press("Tab")
        result["focus"] = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        result["focused"] = page.evaluate("() => document.activeElement.tagName")
        if frame := page.query_selector("iframe"):
            frame.scroll_into_view_if_needed()
            edits = frame.content_frame()
            edits.locator("a[href^='#']").first.click()
            page.wait_for_timeout(200)
            result["edits"] = {
                "text": edits.evaluate("() => document.body.innerText"),
                "scrolled": edits.evaluate("() => scrollY"),
            }
            if screenshots:
                page.screenshot(path=screenshots / "edits.png")
        page.check("#show-all")
        page.emulate_media(media="print")
        photograph(page, screenshots, "print")
        result["printed"] = len(page.pdf(format="A4"))
        browser.close()
    return {**result, "said": said, "requests": requests}


if __name__ == "__main__":
    json.dump(visit(sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]) if sys.argv[3:] else None), sys.stdout)
