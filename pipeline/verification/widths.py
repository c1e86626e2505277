"""The portal in a real browser, as wide as a phone and as a desk: nothing runs over the edge, nothing is complained about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from pipeline.doctor import Finding

WIDTHS = {"phone": (360, 740), "desktop": (1280, 900)}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def portal_widths(url: str, cookie: str) -> Iterator[Finding]:
    """Without a browser on this machine that is said, not passed over."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        browser = None
    if browser is None:
        yield Finding(
            "warn", "portal widths", "not looked at: there is no browser here", "Install Chromium, or look yourself."
        )
        return
    name, _, value = cookie.partition("=")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        try:
            for width, (across, down) in WIDTHS.items():
                context = chromium.new_context(viewport={"width": across, "height": down})
                context.add_cookies(
                    [
                        {
                            "name": name,
                            "value": value,
                            "url": url.replace("http:", "https:"),
                            "secure": True,
                            "httpOnly": True,
                            "sameSite": "Lax",
                        }
                    ]
                )
                page = context.new_page()
                complaints: list[str] = []
                page.on(
                    "console", lambda said, kept=complaints: kept.append(said.type) if said.type == "error" else None
                )
                page.on("pageerror", lambda error, kept=complaints: kept.append("error"))
                page.goto(url, wait_until="load")
                over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                heading = page.locator("h1").count()
                signed_in = "/sign-in" not in page.url
                yield _judged(width, across, over, heading, signed_in, complaints)
                context.close()
        except Error as problem:
            yield Finding(
                "problem", "portal widths", f"the browser could not show it: {problem.message.splitlines()[0]}"
            )
        finally:
            chromium.close()


def _judged(width: str, across: int, over: int, headings: int, signed_in: bool, complaints: list[str]) -> Finding:
    what = f"portal, {width}"
    if not signed_in:
        return Finding(
            "problem", what, "a client who signed in is sent back to the sign-in page", "See the portal's log."
        )
    if over > 0:
        return Finding("problem", what, f"the page is {over} px wider than {across} px", "Look at it at that width.")
    if headings != 1 or complaints:
        return Finding(
            "problem", what, f"{headings} headings, {len(complaints)} complaints of the browser", "Open its console."
        )
    return Finding("ok", what, f"fits {across} px, and the browser has nothing to complain of")
