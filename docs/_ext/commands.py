"""The directive ``commands``: every verb of the command line with its help, read from the program itself."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from maury.cli.app import TASKS, command


class Commands(SphinxDirective):
    """One section per task, in it one per verb."""

    def run(self):
        """Parse the Markdown made from the commands."""
        holder = nodes.section()
        holder.document = self.state.document
        verbs = command().commands
        lines = []
        for task, names in TASKS.items():
            lines += [f"## {task}", ""]
            for name in names:
                lines += chapter(f"maury {name}", verbs[name])
        self.state.nested_parse(StringList(lines, source="maury --help"), 0, holder, match_titles=True)
        return holder.children


def chapter(name, command):
    """Markdown lines of a command, or of all commands of a group."""
    if hasattr(command, "commands"):
        for child in command.commands.values():
            yield from chapter(f"{name} {child.name}", child)
        return
    yield from (f"### {name}", "", command.help or "", "")
    for parameter in command.params:
        if parameter.name != "help":
            yield from option(parameter)


def option(parameter):
    """A definition-list entry of an argument or option."""
    is_argument = parameter.param_type_name == "argument"
    names = (
        (parameter.metavar or parameter.name.upper())
        if is_argument
        else ", ".join(parameter.opts + parameter.secondary_opts)
    )
    about = [(parameter.help or "").strip()]
    if parameter.required:
        about.append("Required.")
    elif parameter.default not in (None, False, ()) and not callable(parameter.default):
        about.append(f"Default: {parameter.default}.")
    yield from (f"`{names}`", f": {' '.join(about).strip() or '-'}", "")


def setup(app):
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
