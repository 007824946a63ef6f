"""What people say of an audit, which nothing can be measured about: for what release it is, who ran it, who signs it."""

from dataclasses import dataclass

from edgepriv.errors import UserError

NOT_STATED = "not stated"


@dataclass(frozen=True)
class Declared:
    """``context``: how the model is released; ``run_by``: who ran the audit; ``sign_off``: "name, role" of who answers for it.
    Each None where nobody says; nothing is taken from the machine."""

    context: str | None = None
    run_by: str | None = None
    sign_off: str | None = None

    def checked(self) -> "Declared":
        """The same, refused where a statement says nothing.

        Returns:
            Itself, without spaces around what was said.

        Raises:
            UserError: for an empty statement, and for a sign-off that is not "name, role".
        """
        stripped = {}
        for name in ("context", "run_by", "sign_off"):
            given = getattr(self, name)
            stripped[name] = None if given is None else " ".join(given.split())
            if stripped[name] == "":
                raise UserError(f"--{name.replace('_', '-')} is empty: say it, or leave the option out")
        signed = stripped["sign_off"]
        if signed is not None and not all(
            part.strip() for part in (signed.partition(",")[0], signed.partition(",")[2])
        ):
            raise UserError(
                f'--sign-off {signed!r}: give a name and a role, such as "A. Meyer, data protection officer"'
            )
        return Declared(**stripped)

    @property
    def signatory(self) -> dict[str, str] | None:
        """``name`` and ``role`` of who signs; None without a sign-off."""
        if self.sign_off is None:
            return None
        name, _, role = self.sign_off.partition(",")
        return {"name": name.strip(), "role": role.strip()}


NOTHING_DECLARED = Declared()
