"""Refusals of the simulated bank: a stable code, the evidence, and what a person can do."""


class BankRefused(Exception):  # noqa: N818  # a refusal, with its code, is no accident
    """Base of everything the bank refuses. `str()` is "code: remedy (evidence)"."""

    def __init__(self, code: str, remedy: str = "", **evidence: object) -> None:
        self.code = code
        self.remedy = remedy
        self.evidence: dict[str, object] = evidence
        facts = ", ".join(f"{key}={value}" for key, value in evidence.items())
        super().__init__(f"{code}: {remedy}" + (f" ({facts})" if facts else ""))


class WiringRefused(BankRefused):
    """A bank file that cannot be meant so. `evidence` names the line where one is to blame."""


class ActionRefused(BankRefused):
    """Somebody asked for what hands cannot do, or named what is not there."""
