"""Trains the embedded model, from nothing to files in the released form.

  python train.py --out out/run --minutes 8                     # on a GPU, if there is one
  python train.py --out out/run --minutes 60 --device cpu --scale 0.1
  python train.py --out out/run --resume --minutes 12           # 12 in all

One run has phases, each a share of the time: the towers with direct
lessons, then text, then everything, then a cool-down in which the model reads what its indexer
chose and is rounded as it is stored, at last the draft layer alone. Batches are a pure function of
seed and step. On a GPU a step is one captured graph, and nothing waits for the host.
"""
import argparse
import json
import os
import pathlib
import time
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import export
import kernels
import model
from config import of_tokenizer
from data import rows, tasks
from data.sounds import SYMBOLS
from data.tokens import PATH, Tokens
from loader import Job, Loader
from model import Mode, Model
from optim import Optimizer
from plot import plot
from towers import Probes

CELLS = 41                           # nothing, or a shape in a colour
BALANCE = 2e-3                       # how far a step moves the routers' biases
DENSE = Mode()
STORED = Mode(sparse=True, stored=True, sinkhorn=20)


@dataclass(frozen=True)
class Phase:
    """`share` of the run's time; `buckets` by weight, empty for the table's own shares.

    `rate` is that of the first and the last step, linear between; `towers` scales it for the towers.
    `lessons` weighs the direct lessons of the towers beside the text's loss."""
    kind: str
    share: float
    mode: Mode = DENSE
    buckets: dict = field(default_factory=dict)
    rate: tuple = (1.0, 1.0)
    towers: float = 1.0
    lessons: float = 0.0
    balance: float = BALANCE

    def work(self, bucket):
        """What a captured step depends on: phases that do the same share it."""
        media = tasks.BUCKETS[bucket].images or tasks.BUCKETS[bucket].samples
        return self.kind, self.mode, self.lessons if media else 0.0


FULL = {
    "towers": Phase("towers", 0.10, buckets={"picture": 3, "sound": 4, "spoken-question": 3}, rate=(1.0, 0.5), lessons=1.0),
    "text": Phase("text", 0.12, buckets={"text": 6, "think": 1, "tools": 1, "recall-256": 2}),
    "joint": Phase("text", 0.43, towers=0.5, lessons=0.1),
    "cool": Phase("text", 0.29, STORED, rate=(1.0, 0.02), towers=0.5, balance=0.0, buckets={
        "text": 22, "think": 5, "tools": 3, "picture": 18, "sound": 16, "film": 10, "spoken-question": 7,
        "film-sound": 7, "recall-256": 4, "recall-1k": 4, "recall-2k": 2.5, "recall-4k": 2.5,
        "recall-8k": 0.5}),
    "draft": Phase("draft", 0.06, STORED, rate=(1.0, 0.05), buckets={
        "text": 6, "think": 2, "tools": 1, "picture": 2, "sound": 2, "film": 1, "recall-256": 2}),
}
# A short finish for a model that is trained already, when tasks have changed.
TUNE = {
    "tune": Phase("text", 0.85, STORED, rate=(0.25, 0.005), towers=0.0, balance=0.0, buckets={
        "text": 24, "think": 4, "tools": 3, "picture": 26, "sound": 14, "film": 11, "spoken-question": 8,
        "film-sound": 7, "recall-256": 3, "recall-1k": 2}),
    "draft": Phase("draft", 0.15, STORED, rate=(0.5, 0.01), buckets=FULL["draft"].buckets),
}
PLANS = {"full": FULL, "tune": TUNE}
WARM_UP = 40                         # steps in which a phase reaches its rate
AHEAD = 4                            # steps that the host may be ahead of the device
HELD_OUT = 10 ** 6                   # steps from here on seed held-out rows
RAMP = 0.3                           # share of the text and joint phases in which cases get harder
METRICS = ("steps", "loss", "indexer", "cells", "cells_right", "symbols", "draft", "draft_right", "norm")


# -------------------------------------------------------------------- a step --
class Trainer:
    """The model with its probes, optimisers and counters, and one step of each kind."""

    def __init__(self, tokens, device, rate=1.0):
        self.device, self.config, self.rate = device, of_tokenizer(tokens), rate
        self.model = Model(self.config).to(device)
        self.model.pad = int(tokens.engram_ids[self.config["pad_token_id"]])
        self.probes = Probes(self.config["text_config"]["hidden_size"], CELLS, len(SYMBOLS)).to(device)
        named = [*self.model.named_parameters(), *((f"probe.{n}", p) for n, p in self.probes.named_parameters())]
        self.main = Optimizer([(n, p) for n, p in named if not n.startswith("mtp.")], device)
        self.drafter = Optimizer([(n, p) for n, p in named if n.startswith("mtp.")], device)
        self.speed = torch.zeros((), device=device)
        self.buckets = list(tasks.BUCKETS)
        self.totals = torch.zeros(len(self.buckets), len(METRICS), device=device)

    def optimizer(self, phase):
        return self.drafter if phase.kind == "draft" else self.main

    def state(self):
        """Everything that a step changes, by name."""
        out = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        out |= {f"probes.{k}": v for k, v in self.probes.state_dict().items()}
        for name, optimizer in (("main", self.main), ("drafter", self.drafter)):
            out |= {f"{name}.{i}": v for i, v in enumerate(optimizer.state())}
        return out

    def set_rates(self, phase, progress, since):
        """Rates at `progress` of the phase, `since` steps after it began."""
        first, last = phase.rate
        rate = (first + (last - first) * progress) * min(1.0, (since + 1) / WARM_UP)
        self.optimizer(phase).rate.fill_(rate * self.rate)
        self.main.tower_rate.fill_(phase.towers)
        self.speed.fill_(phase.balance)

    def step(self, phase, bucket, batch):
        """Forward, backward and one move of the weights."""
        optimizer = self.optimizer(phase)
        self.main.zero()
        self.drafter.zero()
        noted = {}
        loss = {"towers": self.look_and_listen, "text": self.read, "draft": self.propose}[phase.kind](phase, batch, noted)
        loss.backward()
        noted["norm"] = optimizer.step()
        layers = self.model.mtp if phase.kind == "draft" else self.model.layers
        if phase.kind != "towers":
            for layer in layers:
                layer.ffn.balance(self.speed)
        noted["steps"] = torch.ones((), device=self.device)
        row = torch.stack([noted.get(name, torch.zeros((), device=self.device)).detach().float() for name in METRICS])
        self.totals[self.buckets.index(bucket)] += row

    def lessons(self, batch, seen, heard, noted):
        """Direct lessons of what the towers made."""
        loss = 0
        if seen is not None and seen.shape[2] == batch["cells"].shape[-1]:
            noted["cells"], noted["cells_right"] = self.probes.picture_loss(seen, batch["cells"])
            loss = loss + noted["cells"]
        if heard is not None:
            noted["symbols"] = self.probes.sound_loss(heard, batch["sound_tokens"], batch["symbols"])
            loss = loss + noted["symbols"]
        return loss

    def look_and_listen(self, phase, batch, noted):
        self.model.train()
        seen = heard = None
        if "images" in batch:
            count = batch["images"].shape[:2]
            seen = self.model.see(batch["images"].flatten(0, 1), phase.mode).unflatten(0, count)
        if "sounds" in batch:
            heard = self.model.hear(batch["sounds"], batch["sound_tokens"], phase.mode)
        return self.lessons(batch, seen, heard, noted)

    def read(self, phase, batch, noted):
        self.model.train()
        out, step = self.model(batch, phase.mode)
        logits = self.model.head(out, phase.mode)
        each = F.cross_entropy(logits.flatten(0, 1), batch["labels"].long().flatten(), ignore_index=-1, reduction="none")
        noted["loss"] = (each * batch["weights"].flatten()).sum() / batch["weights"].sum().clamp_min(1)
        noted["indexer"] = torch.stack(step.lessons).mean()
        loss = noted["loss"] + 0.5 * noted["indexer"]
        if phase.lessons and (step.seen is not None or step.heard is not None):
            loss = loss + phase.lessons * self.lessons(batch, step.seen, step.heard, noted)
        return loss

    def propose(self, phase, batch, noted):
        """The draft layer against the text, its confidence against whether it was right."""
        self.model.eval()
        self.model.mtp.train()
        with torch.no_grad():
            _, step = self.model(batch, phase.mode)
        anchors, labels = batch["anchors"], batch["labels"].long()
        logits, sure = self.model.draft(batch, step, anchors)
        at = (anchors.unsqueeze(-1) + 1 + torch.arange(logits.shape[2], device=anchors.device)).clamp_max(labels.shape[1] - 1)
        wanted = labels.gather(1, at.flatten(1)).view_as(at)
        count = (wanted >= 0).sum().clamp_min(1)
        right = (logits.argmax(-1) == wanted) & (wanted >= 0)
        noted["draft"] = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), ignore_index=-1, reduction="sum") / count
        doubt = F.binary_cross_entropy_with_logits(sure, right.float(), reduction="none")
        noted["draft_right"] = right.sum() / count
        return noted["draft"] + 0.1 * (doubt * (wanted >= 0)).sum() / count

    @torch.no_grad()
    def answer(self, mode, batch):
        """Whether each position would have said what its label says: bool [B, L]."""
        self.model.eval()
        out, _ = self.model(batch, mode)
        return self.model.head(out, mode).argmax(-1) == batch["labels"]


class Runner:
    """Runs steps: on a GPU as graphs, one for each bucket and kind of step, captured when first needed."""

    def __init__(self, trainer, loader):
        self.trainer, self.loader, self.device = trainer, loader, trainer.device
        self.cuda = self.device.type == "cuda"
        self.graphs, self.inputs, self.results, self.seconds, self.recent = {}, {}, {}, {}, []
        if self.cuda:
            self.copies, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
            for memory in loader.slots:             # so that copies need not wait
                address = np.frombuffer(memory, np.uint8).ctypes.data
                torch.cuda.cudart().cudaHostRegister(address, len(memory), 0)

    def fetch(self):
        """The next job with its arrays on their way to the device: (job, host arrays, tensors, slot, event)."""
        job, views, slot = self.loader.take()
        host = {name: torch.from_numpy(array) for name, array in views.items()}
        if not self.cuda:
            return job, views, host, slot, None
        with torch.cuda.stream(self.copies):
            tensors = {name: t.to(self.device, non_blocking=True) for name, t in host.items()}
            event = torch.cuda.Event()
            event.record()
        return job, views, tensors, slot, event

    def once(self, tensors, work):
        """Calls `work` on the tensors."""
        if self.cuda:
            torch.cuda.current_stream().wait_stream(self.copies)
        return work(tensors)

    def run(self, name, job, tensors, work):
        """Calls `work` on the tensors, or replays it."""
        if not self.cuda:
            return work(tensors)
        torch.cuda.current_stream().wait_stream(self.copies)
        key = (name, job.bucket)
        if key not in self.inputs:
            self.inputs[key] = {k: t.clone() for k, t in tensors.items()}
        static = self.inputs[key]
        for k, t in tensors.items():
            static[k].copy_(t)
            t.record_stream(torch.cuda.current_stream())
        if key not in self.graphs:
            self.capture(key, static, work)
        if self.graphs[key] is None:
            return work(static)
        self.graphs[key].replay()
        self.recent.append(torch.cuda.Event())
        self.recent[-1].record()
        if len(self.recent) > AHEAD:
            self.recent.pop(0).synchronize()
        return self.results[key]

    def capture(self, key, static, work):
        """Records `work`, after a rehearsal whose traces are wiped out."""
        began = time.time()
        changed = [*self.trainer.state().values(), self.trainer.totals]
        before = [t.clone() for t in changed]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work(static)
        torch.cuda.current_stream().wait_stream(stream)
        self.graphs[key] = None
        for lookup in dict.fromkeys((model.LOOKUP, model.select)):
            model.LOOKUP = lookup
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, pool=self.pool):
                    self.results[key] = work(static)
                self.graphs[key] = graph
                break
            except Exception as error:
                print(f"no graph for {key}: {error!r}", flush=True)
        for t, old in zip(changed, before):
            t.copy_(old)
        torch.cuda.synchronize()
        self.seconds[key] = time.time() - began

    def time(self, key, repeats=10):
        """Seconds of a replay."""
        if self.graphs.get(key) is None:
            return float("nan")
        changed = [*self.trainer.state().values(), self.trainer.totals]
        before = [t.clone() for t in changed]
        torch.cuda.synchronize()
        began = time.time()
        for _ in range(repeats):
            self.graphs[key].replay()
        torch.cuda.synchronize()
        took = (time.time() - began) / repeats
        for t, old in zip(changed, before):
            t.copy_(old)
        return took


# --------------------------------------------------------------------- a run --
class Alarm:
    """Rings every so many seconds, and says how many they were."""

    def __init__(self, every):
        self.every, self.last, self.seconds = every, time.time(), 0.0

    def rings(self):
        self.seconds = time.time() - self.last
        if self.seconds < self.every:
            return False
        self.last = time.time()
        return True


class Run:
    def __init__(self, args):
        torch.manual_seed(args.seed)
        self.args, self.out, self.phases = args, pathlib.Path(args.out), PLANS[args.plan]
        self.out.mkdir(parents=True, exist_ok=True)
        self.began = time.time()
        self.tokens = Tokens(args.tokenizer)
        counts = {name: max(1, round(bucket.rows * args.scale)) for name, bucket in tasks.BUCKETS.items()
                  if bucket.length <= args.longest}
        workers = args.workers or max(1, (os.cpu_count() or 2) - 2)
        self.loader = Loader(counts, args.seed, workers)
        device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            print(f"fused kernels: {kernels.agree(device):.1e} from the plain ones", flush=True)
        else:
            torch.set_num_threads(args.threads)
        self.trainer = Trainer(self.tokens, device, args.rate)
        self.runner = Runner(self.trainer, self.loader)
        self.step = self.done = self.index = 0       # steps given out and made; jobs given out
        self.elapsed = self.spent = 0.0              # seconds of training, before this process and in all
        self.starts = {}                             # phase -> its first step
        self.scores = {}
        self.log_file = open(self.out / "log.jsonl", "a")
        self.earlier = {}                            # steps and seconds of the run that this one continues
        if args.weights:
            self.begin_from(args.weights)
        if args.resume:
            self.restore()
        self.log(device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu", workers=workers, rows=counts,
                 parameters=sum(p.numel() for p in self.trainer.model.parameters()), step=self.step, seconds=round(self.elapsed))

    def log(self, **entry):
        for name, earlier in self.earlier.items():
            if name in entry:
                entry[name] += earlier
        line = json.dumps(entry)
        print(line, flush=True)
        self.log_file.write(line + "\n")
        self.log_file.flush()

    # -- the plan
    def limits(self):
        """Phase -> (first second, last second)."""
        out, at, total = {}, 0.0, sum(phase.share for phase in self.phases.values())
        for name, phase in self.phases.items():
            out[name] = (at, at + phase.share / total * self.args.minutes * 60)
            at = out[name][1]
        return out

    def now(self):
        """The phase of this moment and how far it is, or None at the end."""
        for name, (first, last) in self.limits().items():
            if self.spent < last:
                return name, (self.spent - first) / (last - first)
        return None

    def level(self, name, progress):
        """How hard cases are: they get harder in the towers' phase and again in the text's."""
        return min(1.0, 0.2 + progress / RAMP * 0.8) if name in ("towers", "text") else 1.0

    def plan(self, name, progress):
        """Gives out the job of the next step."""
        weights = self.phases[name].buckets or {k: bucket.share for k, bucket in tasks.BUCKETS.items()}
        weights = {k: w for k, w in weights.items() if k in self.loader.counts and w}
        draw = np.random.default_rng((self.args.seed, self.step))
        p = np.array(list(weights.values()), float)
        bucket = str(draw.choice(list(weights), p=p / p.sum()))
        self.give(bucket, name, level=self.level(name, progress))
        self.step += 1

    def give(self, bucket, phase, held_out=False, level=1.0, step=None):
        self.loader.give(Job(self.index, bucket, self.step if step is None else step, self.loader.counts[bucket],
                             phase, held_out, level))
        self.index += 1

    # -- the loop
    def train(self):
        """Until the time is over, or the steps; what was given out is used up first."""
        base, start, ahead, questions = self.elapsed, time.time(), [], []
        report, save = Alarm(self.args.log_every), Alarm(self.args.save_every)
        while True:
            self.spent = base + time.time() - start
            moment = self.now()
            while moment and not self.over() and self.loader.room() and not questions:
                self.plan(*moment)
                if self.step % self.args.evaluate_every == 0:
                    questions = self.evaluations(1)
            while questions and self.loader.room():
                self.give(*questions.pop(0))
            while len(ahead) < 2 and self.loader.waiting:
                ahead.append(self.runner.fetch())
            if not ahead:
                break
            self.consume(*ahead.pop(0))
            if report.rings():
                self.report(report.seconds)
            if save.rings():
                self.save()
        self.elapsed = self.spent
        report.rings()
        self.report(report.seconds)

    def over(self):
        """Whether this process has done its part."""
        late = self.args.stop_after and time.time() - self.began > self.args.stop_after
        return late or (self.args.steps and self.step >= self.args.steps)

    def consume(self, job, views, tensors, slot, event):
        """A step, or held-out answers, on a job that was fetched."""
        if job.held_out:
            mode = STORED if job.phase == "stored" else DENSE
            right = self.runner.once(tensors, lambda batch: self.trainer.answer(mode, batch))
            self.score(job, views, right.cpu().numpy())
        else:
            phase, (first, last) = self.phases[job.phase], self.limits()[job.phase]
            since = job.step - self.starts.setdefault(job.phase, job.step)
            progress = min(1.0, max(0.0, (self.spent - first) / (last - first)))
            self.trainer.set_rates(phase, progress, since)
            self.runner.run(phase.work(job.bucket), job, tensors, lambda batch: self.trainer.step(phase, job.bucket, batch))
            self.done = job.step + 1
        if event is not None:
            event.synchronize()
        self.loader.give_back(slot)

    # -- what it can do
    def evaluations(self, batches, modes=None):
        """Held-out jobs: what `give` takes."""
        name = (self.now() or ("draft", 1))[0]
        if name == "towers":
            return []
        modes = modes or (("stored",) if self.phases[name].mode.stored else ("dense",))
        # The longest rows take as long as all others: they are asked at the end alone.
        buckets = [bucket for bucket in self.loader.counts if bucket != "recall-8k" or batches > 1]
        return [(bucket, mode, True, 1.0, HELD_OUT + batch) for mode in modes for bucket in buckets for batch in range(batches)]

    def score(self, job, views, right):
        """Counts whole answers: all positions of an answer right."""
        bucket_of_task = "" if not job.bucket.startswith("recall") else "-" + job.bucket.removeprefix("recall-")
        labels, answer, task = views["labels"], views["answer"], views["task"]
        for row in range(len(labels)):
            at = labels[row] >= 0
            for which in np.unique(answer[row][at]):
                mine = at & (answer[row] == which)
                name = tasks.TASKS[task[row][mine][0]] + bucket_of_task
                hit = self.scores.setdefault(job.phase, {}).setdefault(name, [0, 0])
                hit[0] += bool(right[row][mine].all())
                hit[1] += 1

    def report(self, seconds):
        totals = self.trainer.totals.tolist()
        self.trainer.totals.zero_()
        steps = sum(row[0] for row in totals)
        losses = {}
        for bucket, row in zip(self.trainer.buckets, totals):
            if row[0]:
                losses[bucket] = {name: round(value / row[0], 4) for name, value in zip(METRICS[1:], row[1:]) if value}
        entry = dict(step=self.step, phase=(self.now() or ("end",))[0], seconds=round(self.spent), steps=int(steps),
                     ms=round(1000 * seconds / max(1, steps), 1), buckets=losses)
        if self.runner.cuda:
            entry["gib"] = round(torch.cuda.max_memory_reserved() / 2 ** 30, 1)
        self.log(**entry)
        for mode, scores in self.scores.items():
            self.log(step=self.step, seconds=round(self.spent), mode=mode,
                     right={name: round(hit / count, 3) for name, (hit, count) in sorted(scores.items())})
        self.scores = {}

    def examine(self, batches):
        """Held-out accuracy, dense and as stored, after training."""
        pending = self.evaluations(batches, ("stored", "dense"))
        while pending or self.loader.waiting:
            while pending and self.loader.room():
                self.give(*pending.pop(0))
            self.consume(*self.runner.fetch())
        self.report(1)

    # -- files
    def save(self):
        state = self.trainer.state() | {"meta": dict(step=self.done, elapsed=self.spent, starts=self.starts)}
        torch.save(state, self.out / "state.new")
        os.replace(self.out / "state.new", self.out / "state.pt")
        weights = [(k, v.contiguous()) for k, v in self.trainer.state().items() if k.startswith(("model.", "probes."))]
        half, at = sum(v.numel() for _, v in weights) / 2, 0
        parts = {}, {}
        for name, v in weights:
            parts[at > half][name] = v
            at += v.numel()
        for i, part in enumerate(parts, 1):
            save_file(part, self.out / f"weights-{i}.safetensors")

    def restore(self):
        saved = torch.load(self.out / "state.pt", map_location=self.trainer.device, weights_only=True)
        meta = saved.pop("meta")
        with torch.no_grad():
            for name, tensor in self.trainer.state().items():
                tensor.copy_(saved[name])
        self.step = self.done = meta["step"]
        self.elapsed, self.starts = meta["elapsed"], meta["starts"]
        self.spent = self.elapsed

    def begin_from(self, folder):
        """Takes the weights that another run saved, with fresh moments; its log is continued."""
        earlier = (pathlib.Path(folder) / "log.jsonl").read_text()
        if not self.args.resume:
            self.log_file.write(earlier)
        entries = [json.loads(line) for line in earlier.splitlines()]
        self.earlier = {name: max(entry.get(name, 0) for entry in entries) for name in ("step", "seconds")}
        saved = {k: v for i in (1, 2) for k, v in load_file(pathlib.Path(folder) / f"weights-{i}.safetensors").items()}
        with torch.no_grad():
            for name, tensor in self.trainer.state().items():
                if name in saved:
                    tensor.copy_(saved[name])

    def finish(self):
        """The released form, the curve, and what is needed to go on elsewhere."""
        size = export.write(self.trainer.model, self.args.tokenizer, self.out / "model")
        plot(self.out / "log.jsonl", self.out / "loss.svg")
        self.log(bytes=size, files="model")


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--out", default="out/run")
    args.add_argument("--tokenizer", default=str(PATH))
    args.add_argument("--minutes", type=float, default=8, help="of training, all resumed runs together")
    args.add_argument("--steps", type=int, default=0, help="stop at this step")
    args.add_argument("--stop-after", type=float, default=0, help="seconds of this process, then save and leave")
    args.add_argument("--resume", action="store_true")
    args.add_argument("--plan", choices=sorted(PLANS), default="full")
    args.add_argument("--weights", help="begin with the weights of this folder's run")
    args.add_argument("--rate", type=float, default=1.0, help="scales all rates")
    args.add_argument("--device", choices=("cpu", "cuda"))
    args.add_argument("--scale", type=float, default=1.0, help="rows of a batch, of the table's")
    args.add_argument("--longest", type=int, default=8448, help="leave out buckets with longer rows")
    args.add_argument("--seed", type=int, default=0)
    args.add_argument("--workers", type=int, default=0)
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--log-every", type=float, default=10, help="seconds")
    args.add_argument("--save-every", type=float, default=60, help="seconds")
    args.add_argument("--evaluate-every", type=int, default=1500, help="steps")
    args.add_argument("--examine", type=int, default=0, help="held-out batches of each bucket at the end")
    args.add_argument("--rehearse", action="store_true", help="one step of every bucket in every phase, and times")
    args = args.parse_args()
    run = Run(args)
    if args.rehearse:
        rehearse(run)
    run.train()
    run.save()
    run.finish()
    if args.examine:
        run.examine(args.examine)
    run.loader.close()


def rehearse(run):
    """One step of every bucket in every phase, with nothing kept of it; how long each takes."""
    keep, starts, done = {k: v.clone() for k, v in run.trainer.state().items()}, dict(run.starts), run.done
    for name, phase in run.phases.items():
        for bucket in phase.buckets or [k for k, b in tasks.BUCKETS.items() if b.share]:
            if bucket in run.loader.counts:
                run.give(bucket, name, step=0)
                began = time.time()
                job, views, tensors, slot, event = run.runner.fetch()
                waited = time.time() - began
                run.consume(job, views, tensors, slot, event)
                key = (phase.work(bucket), bucket)
                took = run.runner.time(key) if run.runner.cuda else time.time() - began - waited
                run.log(rehearsed=name, bucket=bucket, wait=round(waited, 2), ms=round(took * 1000, 1),
                        capture=round(run.runner.seconds.get(key, 0), 2))
    with torch.no_grad():
        for k, v in run.trainer.state().items():
            v.copy_(keep[k])
    run.starts, run.done = starts, done
    run.trainer.totals.zero_()


if __name__ == "__main__":
    main()
