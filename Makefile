# Every command a person types. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# `MODEL=… DEVICE=… DTYPE=… ADDR=… make run` passes through.
ifdef MODEL
export GLIMPSE_MODEL := $(MODEL)
endif
ifdef DEVICE
export GLIMPSE_DEVICE := $(DEVICE)
endif
ifdef DTYPE
export GLIMPSE_DTYPE := $(DTYPE)
endif
ifdef ADDR
export GLIMPSE_ADDR := $(ADDR)
endif

BINDGEN_VERSION := $(shell sed -n 's/^wasm-bindgen = .*"=\([0-9.]*\)".*/\1/p' Cargo.toml)
WASM := --lib --target wasm32-unknown-unknown --no-default-features --features hydrate --profile wasm-release
# One profile and one set of features for building and testing: dependencies are compiled once.
SERVER := --release --features ssr
PYTHON := .venv/bin/python
GRADIO := .venv-gradio/bin/python

.PHONY: help
help: ## this list
	@echo "Glimpse: ask a picture a question."
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

.PHONY: run
run: build ## build what is not built, and serve http://localhost:7860
	@exec target/release/glimpse serve

.PHONY: build
build: page ## the release program target/release/glimpse, page and demo model inside
	@echo "==> the program (about 6 minutes the first time, on two cores)"
	@cargo build $(SERVER)

.PHONY: page
page: tools
	@echo "==> the page (about 3 minutes the first time)"
	@scripts/build-page.sh

.PHONY: tools
tools:
	@scripts/tools.sh $(BINDGEN_VERSION)

.PHONY: test
test: lint build ## everything that is promised, checked: Rust, parity, lint, the page in a browser
	@echo "==> Rust tests, parity with the golden files"
	@scripts/nextest.sh $(SERVER)
	@echo "==> the page in a browser"
	@node_modules/.bin/playwright test --config end2end
	@echo "==> the page behind nginx, where it is installed"
	@scripts/nginx-check.sh where-installed
	@echo "==> the page in Firefox, where it is installed"
	@scripts/firefox-check.sh where-installed

.PHONY: check
check: ## format, clippy and unit tests, before every commit (under a minute once dependencies are built)
	@cargo fmt --check
	@mkdir -p target/site
	@cargo clippy --quiet $(SERVER) --all-targets -- -D warnings
	@cargo test --quiet $(SERVER) --lib

.PHONY: lint
lint: tools ## format and lint checks of both builds
	@echo "==> format and lint (about 3 minutes the first time)"
	@cargo fmt --check
	@mkdir -p target/site
	@cargo clippy --quiet $(SERVER) --all-targets -- -D warnings
	@if [ -f .tools/wasm-compiler.env ]; then . .tools/wasm-compiler.env; cargo check --quiet $(WASM); \
	else cargo clippy --quiet $(WASM) -- -D warnings; fi
	@RUSTDOCFLAGS="-D warnings" cargo doc --quiet $(SERVER) --lib --no-deps --document-private-items
	@node_modules/.bin/tsc --noEmit -p end2end

.PHONY: dev
dev: tools ## watch and reload, with cargo-leptos
	@scripts/cargo-leptos.sh watch

.PHONY: sqlx
sqlx: ## after a change of a query or a migration: what the store's queries take and return, in .sqlx
	@scripts/sqlx-prepare.sh

.PHONY: golden
golden: $(PYTHON) ## make the golden files again (SEED=… for others, OUT=… elsewhere)
	@$(PYTHON) tests/golden/make.py $(if $(SEED),--seed $(SEED)) $(if $(OUT),--out $(OUT))

$(PYTHON): tests/golden/requirements.txt
	@echo "==> Python with the reference, transformers (about 3 minutes, 6 GB)"
	@python3 -m venv .venv
	@.venv/bin/pip install --quiet -r tests/golden/requirements.txt
	@touch $(PYTHON)

.PHONY: bench
bench: build $(PYTHON) ## time Glimpse beside transformers (20 GB of memory, 15 of disk; half an hour)
	@$(PYTHON) benches/compare.py --pairs f32:f32
	@$(PYTHON) benches/compare.py --random Salesforce/blip2-opt-2.7b --runs 3 --pairs bf16:q8_0 bf16:bf16 bf16:q4_k bf16:q4_0 bf16:f16 f32:f32

.PHONY: bench-gradio
bench-gradio: build $(GRADIO) ## a crowd at Glimpse and at a Gradio demo of the demo model, in turns (a quarter of an hour)
	@$(GRADIO) benches/crowd.py

.PHONY: bench-page
bench-page: build $(GRADIO) ## how heavy the page is and how soon one can type, beside a Gradio page in the same browser (a minute)
	@node benches/page.mjs --python $(GRADIO) --results benches/results/page.md

$(GRADIO): benches/requirements-gradio.txt
	@echo "==> Python with Gradio and transformers (about 3 minutes, 6 GB)"
	@python3 -m venv .venv-gradio
	@.venv-gradio/bin/pip install --quiet -r benches/requirements-gradio.txt
	@touch $(GRADIO)

.PHONY: capfilt-demo
capfilt-demo: build $(PYTHON) ## CapFilt on drawn pairs with wrong texts among them: what it finds and loses, and what a captioner gains (SEED=…; takes fonts-noto-color-emoji; ten minutes)
	@$(PYTHON) demo-model/capfilt_demo.py $(if $(SEED),--seed $(SEED),--results benches/results/capfilt-demo.md)

.PHONY: bench-capfilt
bench-capfilt: ## pictures a second of `glimpse capfilt score` beside its models alone, in turns (CAPTIONER=… FILTER=… PICTURES=400 ROUNDS=5; the demo's models take two minutes)
	@cargo bench --quiet --features ssr --bench capfilt -- $(if $(CAPTIONER),--captioner $(CAPTIONER)) $(if $(FILTER),--filter $(FILTER)) \
	  --pictures $(or $(PICTURES),400) --rounds $(or $(ROUNDS),5) --results benches/results/capfilt-speed.md

.PHONY: bench-vllm
bench-vllm: build $(PYTHON) ## Glimpse and vLLM as servers of the shape of OPT-2.7B (VLLM=its command, which is yours to install; 20 GB of memory)
	@$(PYTHON) benches/vllm.py --vllm $(or $(VLLM),vllm)

.PHONY: load
load: build ## many visitors who ask, stop and come back, each answer compared with the same alone (VISITORS=64 SECONDS=120 SEED=1, MODEL=…)
	@cargo bench --quiet --features ssr --bench load -- --visitors $(or $(VISITORS),64) --seconds $(or $(SECONDS),120) \
	  --seed $(or $(SEED),1) $(if $(MODEL),--model $(MODEL)) --program target/release/glimpse

.PHONY: build-cuda
build-cuda: page ## the program for NVIDIA GPUs, in target/cuda (compiles without a GPU)
	@scripts/build-cuda.sh

.PHONY: image
image: ## the container's image, with docker or podman (TARGET=cuda for NVIDIA GPUs)
	@scripts/image.sh $(TARGET)

.PHONY: image-check
image-check: build ## an image around target/release/glimpse, run as a host would (as root, with podman, buildah, mmdebstrap)
	@scripts/image-check.sh

.PHONY: image-try
image-try: ## what `make image` has built, run by docker as a host would (IMAGE=glimpse)
	@scripts/image-try.sh $(or $(IMAGE),glimpse) docker

.PHONY: nginx-check
nginx-check: build ## a real nginx before target/release/glimpse, in a browser: the files of deploy/, a path, its limits (needs nginx)
	@scripts/nginx-check.sh

.PHONY: firefox-check
firefox-check: build ## what visitors do, in Firefox (needs firefox-esr or firefox)
	@scripts/firefox-check.sh

.PHONY: loom
loom: ## the queue before the model, in every order that its threads can run in (a minute the first time)
	@RUSTFLAGS="--cfg loom" cargo test --release --manifest-path loom/Cargo.toml --target-dir target/loom

.PHONY: miri
miri: ## the CPU kernels' packing, formats and products under Miri (5 minutes; takes a nightly Rust with miri)
	@MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-disable-isolation -Zmiri-ignore-leaks" \
	  cargo +nightly miri test --manifest-path miri/Cargo.toml --target-dir target/miri -- \
	  cpu::lanes cpu::product::tests::rows cpu::product::tests::products

.PHONY: deny
deny: ## licences, sources and known faults of all dependencies (takes cargo-deny)
	@cargo deny check

.PHONY: gpu-check
gpu-check: ## on a machine with a GPU, in ten minutes: parity in f32, f16, bf16 and quantised, beams, speed beside transformers
	@scripts/gpu-check.sh

.PHONY: clean
clean: ## remove everything that was built
	@rm -rf target .tools node_modules .venv .venv-gradio
