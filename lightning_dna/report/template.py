"""The templates of pages, filled in one way: everything escaped, nothing undefined."""

from typing import Any

import jinja2


def filled(name: str, **values: Any) -> str:
    """Fill a template of the folder ``templates``.

    Args:
        name: Its file name.
        values: What stands in it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lightning_dna.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**values)
