"""What this floor refuses, with a stable code, the evidence, and what a person can do."""


class GatewayError(Exception):
    """A refusal of the site's shell: `code` (dotted, stable), `remedy`, `evidence`.

    Evidence holds ids, paths and numbers; never a secret, a code or a tracking number.
    """

    def __init__(self, code: str, remedy: str = "", **evidence: object) -> None:
        seen = ", ".join(f"{key}={value}" for key, value in evidence.items())
        text = f"{code}: {remedy}" if remedy else code
        super().__init__(f"{text} ({seen})" if seen else text)
        self.code = code
        self.remedy = remedy
        self.evidence: dict[str, object] = evidence


class FileRefused(GatewayError):  # noqa: N818  # the name says what is wrong
    """A TOML file that cannot be used: `file`, `line`, `key` and `reason` are in the evidence."""


class Overloaded(GatewayError):  # noqa: N818  # the name says what is wrong
    """The queue is full; nothing was taken (`runtime.overloaded`)."""


class Busy(GatewayError):  # noqa: N818  # the name says what is wrong
    """Another process works on this site (`site.busy`)."""
