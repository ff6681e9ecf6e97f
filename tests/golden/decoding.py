"""Golden answers of all ways of decoding, on the golden checkpoints.

For each checkpoint there is `decoding/NN.json`, for each InstructBLIP `decoding/instruct-NN.json`:
what the reference answers about eight pictures in four settings (one greedy, three of beam search), and
one answer whose tokens were drawn; `decoding/NN.safetensors` has the distribution that each token of the latter was
drawn from, after all processors. The pictures are drawn from a number, by `draw` here and
by the test in the same way.

Where two hypotheses are nearly as good, f32 sums in another order may choose differently.
The smallest margin that a decision had is measured inside of the reference; below
`SMALLEST_MARGIN` another picture is taken, and said so.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from transformers.generation import TopKLogitsWarper, TopPLogitsWarper
from transformers.generation.utils import GenerationMixin

from checkpoints import QUESTION, RAW, Reference
from instruct import InstructedReference

NEW_TOKENS = 12
PICTURES = 8
SMALLEST_MARGIN = 1e-4
SMALLEST_PROBABILITY_MARGIN = 1e-5
NOT_THERE = -1e8  # the reference gives -1e9 to what must not be chosen

PROMPTS = [{"kind": "caption", "text": None}, {"kind": "question", "text": QUESTION}, {"kind": "raw", "text": RAW}]

# "STOP" stands for texts that the checkpoint's own answers contain.
GREEDY = [
    {"repetition_penalty": 1.3},
    {"no_repeat_ngram_size": 2},
    {"repetition_penalty": 0.8, "no_repeat_ngram_size": 3, "min_new_tokens": 5},
    {"stop_strings": "STOP"},
]
BEAMS = [
    {"num_beams": 2},
    {"num_beams": 3, "num_return_sequences": 3},
    {"num_beams": 5, "early_stopping": True},
    {"num_beams": 4, "early_stopping": "never", "length_penalty": 2.0},
    {"num_beams": 4, "early_stopping": "never", "length_penalty": -1.0},
    {"num_beams": 10, "length_penalty": -1.0, "num_return_sequences": 4},
    {"num_beams": 3, "repetition_penalty": 1.2, "no_repeat_ngram_size": 2},
    {"num_beams": 6, "min_new_tokens": 6, "early_stopping": True, "length_penalty": 0.0},
    {"num_beams": 2, "stop_strings": "STOP", "num_return_sequences": 2},
    {"num_beams": 7, "repetition_penalty": 1.5, "length_penalty": 0.5, "early_stopping": "never"},
    {"num_beams": 5, "no_repeat_ngram_size": 1},
    {"num_beams": 8, "length_penalty": 1.5, "num_return_sequences": 8},
]
DRAWN = [
    {"top_k": 50},
    {"top_k": 0, "temperature": 0.7},
    {"top_k": 5, "temperature": 1.7},
    {"top_k": 0, "top_p": 0.9},
    {"top_k": 40, "top_p": 0.6, "temperature": 1.3, "repetition_penalty": 1.2},
    {"top_k": 20, "no_repeat_ngram_size": 1, "min_new_tokens": 6},
    {"num_beams": 3, "top_k": 1, "temperature": 0.5},
    {"num_beams": 4, "top_k": 30, "top_p": 0.3, "repetition_penalty": 1.4},
]


def draw(seed):
    """A picture of rectangles, the same here and in the test."""
    state = seed

    def number(below):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % below

    width, height = 16 + number(33), 16 + number(33)
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:] = [number(256) for _ in range(3)]
    for _ in range(6):
        left, top = number(width), number(height)
        right, bottom = left + 1 + number(width), top + 1 + number(height)
        pixels[top:bottom, left:right] = [number(256) for _ in range(3)]
    return Image.fromarray(pixels)


# How near a decision was ------------------------------------------------------------


class Margins:
    """Watches the reference's decisions, and remembers the nearest."""

    def __init__(self):
        self.smallest = float("inf")
        self.stop_strings = False
        for owner, name in [
            (GenerationMixin, "_get_top_k_continuations"),
            (GenerationMixin, "_get_running_beams_for_next_iteration"),
            (GenerationMixin, "_update_finished_beams"),
            (GenerationMixin, "_check_early_stop_heuristic"),
            (TopKLogitsWarper, "__call__"),
            (TopPLogitsWarper, "__call__"),
        ]:
            self.watch(owner, name)

    def watch(self, owner, name):
        original = owner.__dict__[name]
        is_static = isinstance(original, staticmethod)
        function = original.__func__ if is_static else original
        look = getattr(self, "look_at_" + (name if name != "__call__" else owner.__name__))

        def watched(*arguments, **named):
            result = function(*arguments, **named)
            look(result, *arguments, **named)
            return result

        setattr(owner, name, staticmethod(watched) if is_static else watched)

    def note(self, *margins):
        self.smallest = min([self.smallest, *margins])

    def gaps(self, values, *places):
        """Between each place and the one behind it, of values in falling order, if both are there."""
        values = sorted(values.flatten().tolist(), reverse=True)
        for place in places:
            if place + 1 < len(values) and values[place + 1] > NOT_THERE:
                self.note(values[place] - values[place + 1])

    def look_at__get_top_k_continuations(self, _, model, accumulated_log_probs, *, beams_to_keep, do_sample, **rest):
        # Which continuations are looked at matters where more than end tokens end an answer.
        if self.stop_strings and not do_sample:
            self.gaps(accumulated_log_probs.topk(beams_to_keep + 1).values, beams_to_keep - 1)

    def look_at__get_running_beams_for_next_iteration(
        self, _, model, topk_log_probs, next_token_hits_stopping_criteria, num_beams, **rest
    ):
        hits = next_token_hits_stopping_criteria
        self.gaps(topk_log_probs + hits.float() * -1e9, num_beams - 1)
        # Only the best may end: the last of them and the next, if either does.
        if hits[0, num_beams - 1] or hits[0, num_beams]:
            self.gaps(topk_log_probs, num_beams - 1)

    def look_at__update_finished_beams(
        self, _, model, beam_scores, topk_log_probs, next_token_hits_stopping_criteria, top_num_beam_mask, **rest
    ):
        ended = next_token_hits_stopping_criteria & top_num_beam_mask
        length = rest["cur_len"] + 1 - rest["decoder_prompt_len"]
        scores = topk_log_probs / length ** rest["length_penalty"] + (~ended) * -1e9
        if rest["is_early_stop_heuristic_unsatisfied"].all():
            self.gaps(torch.cat((beam_scores, scores), 1), *range(rest["num_beams"]))

    def look_at__check_early_stop_heuristic(
        self, _, running_beam_scores, beam_scores, is_sent_finished, cur_len, max_length,
        decoder_prompt_len, early_stopping, length_penalty, **rest,
    ):  # fmt: skip
        longest = early_stopping == "never" and length_penalty > 0
        length = (max_length if longest else cur_len) - decoder_prompt_len
        best = running_beam_scores[0, 0] / length**length_penalty
        if is_sent_finished.all() and best > NOT_THERE:
            self.note(abs(best - beam_scores.min()).item())

    def look_at_TopKLogitsWarper(self, _, warper, ids, scores):
        for row in scores:
            self.gaps(row, min(warper.top_k, row.numel()) - 1)

    def look_at_TopPLogitsWarper(self, _, warper, ids, scores):
        sums = scores.sort(descending=False).values.softmax(-1).cumsum(-1)
        nearest = (sums - (1 - warper.top_p)).abs().min().item()
        self.note(nearest / SMALLEST_PROBABILITY_MARGIN * SMALLEST_MARGIN)


# What the reference answers -----------------------------------------------------------


class Decoder:
    def __init__(self, reference, margins):
        self.reference = reference
        self.model, self.processor = reference.model, reference.processor
        self.margins = margins
        # The generation configuration that `generate` uses is the language model's own.
        self.language_model = self.model.language_model

    def generate(self, image, prompt, options):
        text = self.reference.text_of(prompt)
        inputs = self.processor(images=image, text=text, return_tensors="pt")
        self.margins.smallest = float("inf")
        self.margins.stop_strings = "stop_strings" in options
        more = {"tokenizer": self.processor.tokenizer} if "stop_strings" in options else {}
        result = self.model.generate(
            **inputs, **{"max_new_tokens": NEW_TOKENS, "do_sample": False} | options, **more,
            output_logits=True, output_scores=True, return_dict_in_generate=True,
        )  # fmt: skip
        return result, self.margins.smallest

    def answer(self, image, prompt, options):
        result, margin = self.generate(image, prompt, options)
        if "num_beams" in options:
            return self.beams(result), margin
        best = torch.stack([step[0] for step in result.scores]).topk(2).values
        count = len(result.logits)
        ids = result.sequences[0, -count:].tolist()
        margin = min(margin, (best[:, 0] - best[:, 1]).min().item())
        return [{"token_ids": ids, "logprobs": self.logprobs(result, ids, [0] * count)}], margin

    def beams(self, result):
        sequences = []
        prompt_length = result.sequences.shape[1] - result.beam_indices.shape[1]
        for ids, rows, score in zip(result.sequences, result.beam_indices, result.sequences_scores.tolist()):
            if score < NOT_THERE:
                continue  # fewer answers ended than were asked for: this one stands in
            count = int((rows >= 0).sum())
            sequence = {"token_ids": ids[prompt_length : prompt_length + count].tolist(), "score": round(score, 6)}
            if not sequences:
                sequence["logprobs"] = self.logprobs(result, sequence["token_ids"], rows[:count].tolist())
            sequences.append(sequence)
        return sequences

    def logprobs(self, result, ids, rows):
        steps = zip(result.logits, ids, rows)
        return [round(torch.log_softmax(step[row].double(), -1)[id].item(), 5) for step, id, row in steps]

    def drawn(self, image, prompt, options, seed):
        """An answer that was drawn, and what each of its tokens was drawn from."""
        torch.manual_seed(seed)
        result, margin = self.generate(image, prompt, options | {"do_sample": True})
        if "num_beams" in options:
            count = int((result.beam_indices[0] >= 0).sum())
            start = result.sequences.shape[1] - result.beam_indices.shape[1]
            rows = result.beam_indices[0, :count].tolist()
        else:
            count = len(result.logits)
            start = result.sequences.shape[1] - count
            rows = [0] * count
        ids = result.sequences[0, start : start + count].tolist()
        scores = torch.stack([step[row] for step, row in zip(result.scores, rows)])
        return ids, scores.softmax(-1), margin

    def stop_strings(self, images):
        """A letter and two that follow each other, from inside of greedy answers where there are any."""
        texts = [self.text(image) for image in images]
        letters = sorted({letter for text in texts for letter in text[2:] if letter.isascii() and letter.isprintable()})
        pairs = sorted({text[i : i + 2] for text in texts for i in range(3, len(text) - 1) if text[i : i + 2].isascii()})
        return letters[len(letters) // 2 :][:1] + pairs[len(pairs) // 2 :][:1] or ["the"]

    def text(self, image):
        (sequence,), _ = self.answer(image, PROMPTS[1], {})
        return self.processor.tokenizer.decode(sequence["token_ids"], skip_special_tokens=True)


def settings(number):
    return [GREEDY[number % len(GREEDY)]] + [BEAMS[(3 * number + i) % len(BEAMS)] for i in range(3)]


def with_stop_strings(options, stop):
    return options | ({"stop_strings": stop} if "stop_strings" in options else {})


def about_picture(decoder, number, picture, stop):
    """The answers about one picture, or the margin that is too small."""
    image, answers = draw(picture), []
    for index, options in enumerate(settings(number)):
        options = with_stop_strings(options, stop)
        prompt = PROMPTS[(number + index) % len(PROMPTS)]
        sequences, margin = decoder.answer(image, prompt, options)
        if margin < SMALLEST_MARGIN:
            return None, margin
        answers.append({"picture": picture, **prompt, "options": options, "sequences": sequences})
    return answers, None


def checkpoint(reference, number, name, out, margins, seed):
    decoder = Decoder(reference, margins)
    first = 10_000 * seed + 100 * number
    stop = decoder.stop_strings([draw(first + i) for i in range(4)])
    answers, picture, pictures = [], first, 0
    while pictures < PICTURES:
        found, margin = about_picture(decoder, number, picture, stop)
        if found is None:
            print(f"{name}: another picture than {picture}, a margin is {margin:.1e}", flush=True)
        else:
            answers += found
            pictures += 1
        picture += 1
    options, prompt = DRAWN[number % len(DRAWN)], PROMPTS[(number + 1) % len(PROMPTS)]
    for picture in range(first, first + 50):
        ids, distribution, margin = decoder.drawn(draw(picture), prompt, options, picture)
        if margin >= SMALLEST_MARGIN:
            break
        print(f"{name}: another draw than {picture}, a margin is {margin:.1e}", flush=True)
    else:
        raise SystemExit(f"{name}: 50 draws with too small a margin; choose another seed")
    drawn = {"picture": picture, **prompt, "options": options, "token_ids": ids}
    content = {"max_new_tokens": NEW_TOKENS, "answers": answers, "drawn": drawn}
    (out / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
    save_file({"distribution": distribution.contiguous()}, out / f"{name}.safetensors")
    distinct = len({json.dumps(answer["sequences"][0]["token_ids"]) for answer in answers})
    print(f"{name}: {distinct} different answers of {len(answers)}, stop strings {stop}, {len(ids)} drawn", flush=True)


def write(out: Path, seed: int, first: int):
    """Writes two files for each folder of `checkpoints` and `instruct` beside `out`, from number `first` on."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    margins = Margins()
    with torch.inference_mode():
        for folder in folders(out.parent, "checkpoints", first):
            checkpoint(Reference(folder), int(folder.name), folder.name, out, margins, seed)
        for folder in folders(out.parent, "instruct", first):
            name, number = f"instruct-{folder.name}", 50 + int(folder.name)
            checkpoint(InstructedReference(folder), number, name, out, margins, seed)


def folders(golden, name, first):
    return [folder for folder in sorted((golden / name).iterdir()) if int(folder.name) >= first]
