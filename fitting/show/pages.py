"""Pages from the templates in data/assets/pages, by Jinja2: all that is put into them is escaped, but for `Markup`."""

import functools
import json
from importlib import resources

import jinja2
from markupsafe import Markup


def fill_page(template: str, **content: object) -> str:
    """A template of data/assets/pages with its variables; a variable that is missing raises jinja2.UndefinedError."""
    return _environment().get_template(template).render(**content)


def page_asset(name: str) -> Markup:
    """A style sheet or script of ours, to stand in a page as it is."""
    return Markup(_text(name))


def script_safe_json(data: dict) -> Markup:
    """JSON that cannot end the script element it stands in, whatever a file is called."""
    return Markup(json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _text(name: str) -> str:
    return resources.files("bodyfit.data").joinpath("assets", "pages", name).read_text(encoding="utf-8")
