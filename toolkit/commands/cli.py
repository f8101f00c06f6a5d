"""The `ntire-sr` command and its exit codes.

Each command, in a file of this package, only reads its options, calls one function and prints. torch takes
seconds to import, so everything that needs it is imported inside the commands. Results go to standard
output, progress and errors to standard error. Exit codes: 0 success, 1 failure, 2 usage error, 130 interrupted.
"""

import errno
import sys

import click

from ntire_sr._version import __version__
from ntire_sr.commands.command import Group
from ntire_sr.commands.compare import compare
from ntire_sr.commands.data import data, downscale
from ntire_sr.commands.demo import demo
from ntire_sr.commands.doctor import doctor
from ntire_sr.commands.generate import generate
from ntire_sr.commands.leaderboard import leaderboard
from ntire_sr.commands.models import models
from ntire_sr.commands.package import package
from ntire_sr.commands.project import project
from ntire_sr.commands.score import fit_niqe, score
from ntire_sr.commands.study import study
from ntire_sr.commands.train import train
from ntire_sr.commands.verify import verify
from ntire_sr.commands.view import view
from ntire_sr.core.errors import NtireSrError, printable


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ntire-sr")
def cli() -> None:
    """Draw, score and submit samples of the super-resolution space.

    From photographs to an upload: train, generate --samples 10, score, package. Without options, these four
    use the folder runs/latest and photographs that need no download. For images of another program: project,
    score, package.
    """


# in the order of the pipeline, as `--help` and the documentation list them
for command in (data, downscale, train, models, generate, view, project, score, compare, leaderboard, fit_niqe, study, package, verify, demo, doctor):
    cli.add_command(command)


def main() -> None:
    """Run the command; turn an error into a message and an exit code."""
    from ntire_sr.commands.streams import flush_output, open_standard_streams
    from ntire_sr.core.files import error_from_os_error
    from ntire_sr.core.machine import limit_threads

    open_standard_streams()
    limit_threads()
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = _fail("interrupted", 130)
    except KeyboardInterrupt:
        code = _fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except NtireSrError as failure:
        code = _fail(str(failure), failure.exit_code)
    except BrokenPipeError:  # the reader, such as `head`, has left
        flush_output()
        code = 1
    except RuntimeError as error:
        from ntire_sr.core.device import is_out_of_memory

        if not is_out_of_memory(error):  # any other is a bug
            raise
        code = _fail(str(NtireSrError("out of memory", "a smaller batch, patch or network, smaller images, or more memory")), 1)
    except OSError as error:
        flush_output()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # files are written with their names in errors
        doing = error.filename or ("cannot write the output" if full else "the operating system refused")
        code = _fail(str(error_from_os_error(error, str(doing))), 1)
    except MemoryError:
        code = _fail(str(NtireSrError("out of memory", "smaller images, fewer threads, or a machine with more memory")), 1)
    if refused := flush_output():
        code = _fail(str(refused), 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(text: str, code: int) -> int:
    click.echo(f"error: {printable(text)}", err=True)
    return code
