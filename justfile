# Short names for the project's own scripts; `just --list` shows them. Each recipe is one command, so just itself is optional.

# List the recipes.
default:
    @just --list

# Run everything that must hold before a merge.
ci:
    .ci/run

# Run all tests, or those whose name contains a word: just test NAME
test *ARGS:
    tests/run {{ ARGS }}

# Run integration tests by name: just it locks
it *ARGS:
    cargo test --locked --test it {{ ARGS }}

# Run the fuzz targets: just fuzz 60 wire
fuzz *ARGS:
    fuzz/run {{ ARGS }}

# Attack a gateway with third-party tools.
conformance *ARGS:
    tests/conformance {{ ARGS }}

# Run one benchmark: allowance, edge, ledger or matching.
bench NAME:
    cargo bench --locked --bench {{ NAME }}

# Format the code.
fmt:
    cargo fmt --all

# Run the linter.
lint:
    cargo clippy --locked --all-targets -- -D warnings

# Run a gateway on the simulated Zoho.
sandbox:
    cargo run --locked --release -- run --sandbox

# Build the program as it is shipped.
dist:
    cargo build --locked --profile dist
