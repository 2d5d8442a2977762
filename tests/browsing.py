"""What a page does in a browser that a reader would never see: errors, failures, and calls to other machines."""

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
