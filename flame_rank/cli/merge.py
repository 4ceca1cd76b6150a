"""`flame-rank merge`: joins the outputs of shards in the order of the input."""

import click

from flame_rank.cli.options import INPUT_FILE


@click.command()
@click.argument("files", metavar="SHARD...", nargs=-1, required=True, type=INPUT_FILE)
@click.option("-o", "--output", metavar="FILE", help="Write the lines to this file.  [default: standard output]")
def merge(files: tuple[str, ...], output: str | None) -> None:
    """Join the outputs of `rerank --shard 1/N` to `--shard N/N`, in the order of the input.

    Give all N outputs, in the order of their numbers. Each must have one line for each problem, as --format ranked
    writes it. Outputs of --format best or pairs, and of --top for flat input, may have other numbers of lines: join
    them with cat.
    """
    from flame_rank.io.output import Output
    from flame_rank.io.paths import parts, refuse_same
    from flame_rank.io.shards import interleaved

    shards = {f"shard {k}": file for k, file in enumerate(files, 1)}
    refuse_same({}, shards, stream=0)  # a shard given twice would be in the output twice
    refuse_same(shards, parts(output))
    count = 0
    with Output(output) as out:
        for line in interleaved(files):
            out.write(line)
            count += 1
    click.echo(f"{count:,} lines of {len(files)} shards", err=True)
