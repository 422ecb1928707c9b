# `make` lists the targets. Everything works on a Debian 12 machine that has nothing but Rust; set-up is part of it.

SHELL := /bin/sh
export PATH := $(HOME)/.cargo/bin:$(CURDIR)/.tools:$(CURDIR)/.tools/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin
export CARGO_TERM_PROGRESS_WHEN ?= never

# The product and its tests make tunnels and network namespaces, which is root's work.
ifneq ($(shell id -u),0)
AS_ROOT := sudo -E env "PATH=$(PATH)"
CARGO_TEST := cargo --config 'target."cfg(unix)".runner = ["sudo", "-E"]' test
else
AS_ROOT :=
CARGO_TEST := cargo test
endif

# Without root, and without a sudo that asks nothing, Postern serves all the same and says what the VPN lacks.
RUN_AS := $(if $(AS_ROOT),$(shell sudo -n true 2>/dev/null && echo 'sudo -E'))

STATE := $(CURDIR)/.postern
# Without optimisation: a fresh clone serves within minutes, and `make test` has less to build. `make release` optimises.
POSTERN := target/debug/postern
MONGOD = $(shell command -v mongod || echo "$(CURDIR)/.tools/mongod")

.PHONY: help setup run start test check fmt clippy build unit e2e doc openapi reference refusals deny release demo bench

help: ## lists the targets
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## */  make \1\t/' | expand -t 16

setup: ## installs what the tests need: openvpn, nftables, a browser, node, a mongod under .tools/ and so on
	@deploy/dev/setup.sh test

run: $(STATE)/postern.toml ## builds and starts Postern on this machine with its own private database
	@deploy/dev/setup.sh run
	POSTERN_COMMIT=$$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown) cargo build --locked --bin postern
	@$(MAKE) --no-print-directory start

# What `make run` does once everything is built. The daemons end with it: the variable says so to a configuration of an
# older checkout, too.
start: $(STATE)/postern.toml
	@echo
	@echo "To open the console, type in another terminal, in this folder:"
	@echo "  $(if $(RUN_AS),sudo )$(POSTERN) owner-link --config $(STATE)/postern.toml"
	@echo "It prints a link that works once. After it, http://127.0.0.1:9443/setup leads step by step to the first connection."
	@echo
	@echo "The same by the command line, instead:"
	@echo '  TOKEN=$$($(if $(RUN_AS),sudo )$(POSTERN) token create --config $(STATE)/postern.toml --name first --role owner)'
	@echo '  deploy/dev/first-profile.sh http://127.0.0.1:9443 "$$TOKEN" you@example.com 10.0.0.0/8 > you.ovpn'
	@echo "and give you.ovpn to any OpenVPN client on this machine (public_address in $(STATE)/postern.toml is what it dials;"
	@echo "set it to an address of this machine that others reach, and they can connect too)."
	@echo
	@echo "  employees: http://127.0.0.1:8443     admins: http://127.0.0.1:9443     health: http://127.0.0.1:9600/readyz"
	@echo "Ctrl-C ends Postern and its VPN daemons. It keeps everything under $(STATE); delete that folder to start afresh."
	@echo
	@$(RUN_AS) env POSTERN_VPN__STOP_WITH_POSTERN=true $(POSTERN) serve --config $(STATE)/postern.toml

$(STATE)/postern.toml:
	@install -d -m 700 $(STATE)
	@printf '%s\n' '# Made by `make run`: everything on one machine, reachable from this machine only.' \
	    '[host]' 'name = "local"' 'data_dir = "$(STATE)/data"' 'public_address = "127.0.0.1"' \
	    '[database]' 'mongod = "$(MONGOD)"' \
	    '[public]' 'listen = "127.0.0.1:8443"' 'url = "http://127.0.0.1:8443"' \
	    '[admin]' 'listen = "127.0.0.1:9443"' 'url = "http://127.0.0.1:9443"' \
	    '[vpn]' 'stop_with_postern = true' >$@

test: ## sets up, then formatting, lints and all tests; says how long each phase took
	@mkdir -p target && : >target/timings
	@for phase in setup fmt clippy deny doc build unit e2e browser; do \
	    echo "== $$phase"; from=$$(date +%s); result=ok; \
	    $(MAKE) --no-print-directory $$phase || result=FAILED; \
	    printf '%6d s  %-8s %s\n' $$(($$(date +%s) - from)) $$phase $$result >>target/timings; \
	    [ $$result = ok ] || break; \
	done; echo "== timings"; cat target/timings; [ $$result = ok ]

check: fmt clippy deny doc ## formatting, lints, dependencies, documentation: no tests

fmt: ## formatting
	cargo fmt --check

clippy: ## lints, warnings are errors
	cargo clippy --locked --all-targets -- -D warnings

build: ## the tests, without running them
	cargo test --locked --no-run

# Everything but the end-to-end and browser binaries, whose tests bring up whole clusters and so get fewer at a time.
unit: ## unit and integration tests
	$(CARGO_TEST) --locked --lib --bins
	$(CARGO_TEST) --locked --test floors --test it
	$(CARGO_TEST) --locked --doc

e2e: ## end-to-end tests: real hosts, clients and databases in network namespaces; E2E="name --nocapture" narrows
	$(CARGO_TEST) --locked --test e2e -- --test-threads=$(or $(E2E_THREADS),4) $(E2E)

browser: ## the pages in a real browser, on the same hosts; BROWSER="name --nocapture" narrows; pictures in target/screenshots
	$(CARGO_TEST) --locked --test browser -- --test-threads=$(or $(BROWSER_THREADS),2) $(BROWSER)

doc: ## documentation without warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

refusals: ## writes docs/refusals.md anew, after a change of src/services/refusal.rs
	@text=$$(cargo run --quiet --locked -- refusals) && printf '%s\n' "$$text" >docs/refusals.md

reference: ## writes docs/cli.md anew, after a change of the command line
	@text=$$(cargo run --quiet --locked -- reference) && printf '%s\n' "$$text" >docs/cli.md

# The database of advisories is fetched; a machine without a way to it checks the rest, and says so.
deny: ## licences, banned crates, sources and, where their database can be had, advisories about the dependencies
	@cargo deny --log-level error check licenses bans sources
	@if cargo deny --log-level off fetch db 2>/dev/null; then cargo deny --log-level error check advisories; \
	else echo "The database of advisories could not be had: advisories were NOT checked."; fi

openapi: ## renews docs/openapi.json, the committed copy of the API's document
	cargo run --locked --quiet -- openapi >docs/openapi.json

release: ## the program as packages and images hold it, its Debian package, SBOM and checksums, in target/dist/
	@deploy/dev/setup.sh release
	POSTERN_COMMIT=$$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown) cargo build --locked --profile dist
	cargo deb --locked --profile dist --no-build --output target/dist/
	cargo cyclonedx --format json --spec-version 1.5 --override-filename postern.cdx
	mv postern.cdx.json target/dist/ && rm -f src/*/postern.cdx.json
	cd target/dist && sha256sum postern *.deb postern.cdx.json >SHA256SUMS

demo: ## a tour: three hosts, a database and laptops in namespaces of this machine; joins, drain, crash, failover
	@deploy/dev/setup.sh test
	$(AS_ROOT) cargo bench --locked --profile dev --bench demo

bench: ## benchmarks
	cargo bench --locked --bench bench
