"""Pages in a browser without a network, watched for what a reader would never see."""

from contextlib import contextmanager

LOCAL = ("file:", "data:", "blob:", "about:")


def watch(page) -> list[str]:
    """A list that grows by one line for everything that goes wrong on a page, from now on."""
    troubles = []

    def console(message):
        if message.type == "error":
            troubles.append(f"console: {message.text}")

    def request(asked):
        if not asked.url.startswith(LOCAL):
            troubles.append(f"asks another machine: {asked.url}")

    page.on("console", console)
    page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    page.on("requestfailed", lambda failed: troubles.append(f"failed: {failed.url} ({failed.failure})"))
    page.on("request", request)
    return troubles


@contextmanager
def sound_page(browser):
    """A page without a network. Fails if what it showed wrote an error, missed a file or asked another machine."""
    with browser.new_context(offline=True, reduced_motion="reduce") as context:  # colours that move have no contrast
        context.set_default_timeout(120_000)  # ms: a machine that is busy with something else is slow, not wrong
        page = context.new_page()
        troubles = watch(page)
        yield page
    assert not troubles, "\n".join(troubles)
