"""Networks of the user's own that misbehave when they are imported, built or run."""

import random
from pathlib import Path

from tests.hostile.case import BASE, TEXT, Draft

CODE = """
import sys
import time
import warnings

import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = nn.ReLU({inplace})
        self.calls = 0
        {init}

    def forward(self, x):
        self.calls += 1
        {before}
        y = self.act(self.conv(x))
        return {result}


def build(**settings):
    {build}
    net = Net()
    return {returned}

{top}
"""
MEAN = "y.mean((2, 3))"
RAISES = """\
raise ValueError('of\\nits own')
raise KeyError('x')
raise RuntimeError('')
raise Exception
sys.exit(0)
sys.exit('text')
sys.exit(3)
raise SystemExit
assert False
1 / 0
raise StopIteration
raise GeneratorExit
raise MemoryError
raise RecursionError
raise OSError(28, 'No space')
raise TypeError('x' * 100000)
raise UnicodeDecodeError('utf-8', b'x', 0, 1, 'odd')
raise BrokenPipeError
raise EOFError
raise ImportError('no module')
raise NotImplementedError
raise TimeoutError
raise AttributeError('x')
raise IndexError
raise BaseException('base')
raise Warning('w')
raise SyntaxError('s')
raise ExceptionGroup('g', [ValueError(1), KeyError(2)])
raise LookupError('\\u2028\\x1b[31m')
raise torch.cuda.OutOfMemoryError('CUDA out of memory')
raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})""".splitlines()
BEFORE = """\
x = x.detach()
x.zero_()
x.add_(1)
x.data.zero_()
x.requires_grad_(False)
x.clamp_(0, 1)
print('out'); print('err', file=sys.stderr)
sys.stdout.write('no end')
warnings.warn('a warning')
time.sleep(0.2)
x = x.long().float()
x = x.numpy()
x = torch.from_numpy(x.detach().numpy())
x = x.double()
x = x.half()
x = x.to('meta')
x = x[:0]
x = x[:1]
x = torch.cat([x, x])
x = x.mean(0, keepdim=True)
torch.set_grad_enabled(False)
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
torch.use_deterministic_algorithms(True)
self.train()
self.conv = nn.Conv2d(3, 4, 3)
self.register_buffer('seen', x)
x.register_hook(lambda g: g * float('nan')) if x.requires_grad else None
self._forward_hooks.clear()
self.act._forward_hooks.clear()
del self.act
torch.autograd.set_detect_anomaly(True)
if self.calls > 5: x = x * float('nan')
if self.calls > 3: x = x[:, :2]
x = x.repeat(1, 1, self.calls, 1)
x = x * (x.sum() > 1e9)
x = x * 1e38
x = x * 1e-38
self.conv.weight.data += 1
x = x.half().float()
import os; os.chdir('/')
sys.stderr.close()
sys.stdout.close()
import os; os.environ.clear()
np.random.seed(0)
if x.shape[0] > 1: raise ValueError('one at a time')
if x.shape[0] == 1: raise ValueError('never one')
assert not torch.is_grad_enabled()""".splitlines()
RESULTS = """\
y
MEAN
y.mean()
y.mean((1, 2, 3))
y.detach()
MEAN.detach()
MEAN.argmax(1)
MEAN.int()
MEAN > 0
None
3
'text'
()
[]
{}
(MEAN, y)
[MEAN]
{'a': MEAN}
{'out': MEAN, 'aux': None}
{1: MEAN, (2,): y}
(((MEAN,),),)
MEAN * float('nan')
MEAN * float('inf')
MEAN * 0
MEAN[:, :0]
MEAN[:0]
x
x * 1
MEAN.numpy()
MEAN.tolist()
MEAN.double()
MEAN.half()
MEAN.to(torch.complex64)
MEAN.to('meta')
MEAN.to_sparse()
torch.zeros(x.shape[0], 4)
torch.zeros(4)
torch.tensor(1.0)
MEAN.expand(2, -1, -1)
y.flatten()
torch.stack([MEAN] * 2)
MEAN.sum(1)
MEAN.t()
iter([MEAN])
lambda: MEAN
type('R', (), {'logits': MEAN})()
torch.nested.nested_tensor(list(MEAN))
nn.Parameter(MEAN)
MEAN + self.calls
MEAN * torch.rand(1)
MEAN.bfloat16()
(MEAN * 1e30) ** 9
torch.quantize_per_tensor(MEAN, 0.1, 0, torch.qint8)
MEAN.repeat(1, 100000)
MEAN[..., None, None, None, None]
self.forward(x)
self(x)""".replace("MEAN", MEAN).splitlines()
RETURNED = """\
None
3
Net
[net]
net.state_dict()
nn.Module()
nn.Sequential()
nn.Identity()
torch.jit.script(nn.Sequential(net.conv, net.act))
torch.jit.trace(net, torch.zeros(1, 3, 16, 16))
nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten())
net.half()
net.double()
net.to('meta')
net.bfloat16()
nn.DataParallel(net)
torch.compile(net, backend='eager')
nn.ModuleList([net])
nn.ModuleDict({'a': net})
nn.Conv2d(3, 4, 3)
nn.Conv3d(3, 4, 3)
nn.Conv2d(5, 4, 3)
nn.Linear(3, 4)
nn.LSTM(3, 4)
nn.BatchNorm2d(3)
nn.Flatten()
nn.ReLU()
nn.Dropout(0.5)
torch.fx.symbolic_trace(nn.Sequential(net.conv, net.act))
torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Flatten(), nn.Linear(768, 4)))
nn.Sequential(nn.Flatten(), nn.Linear(768, 4).requires_grad_(False))
nn.Sequential(net, nn.Sigmoid(), nn.Hardtanh())
nn.TransformerEncoderLayer(16, 2)
nn.Embedding(3, 4)
nn.utils.parametrizations.weight_norm(net.conv)
nn.utils.parametrizations.spectral_norm(net.conv)
lambda x: x
iter([net])
nn.Sequential(*[nn.Identity() for _ in range(3000)])
nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(1.0))
nn.Upsample(scale_factor=2)
nn.AdaptiveAvgPool2d(0)""".splitlines()
INITS = """\
self.conv.weight.data.fill_(float('nan'))
self.conv.weight.data.zero_()
self.conv.weight.data.fill_(1e38)
self.conv.weight = None
self.conv.weight.requires_grad_(False)
self.me = [self]
self.conv.bias.data = torch.zeros(9)
self.register_buffer('b', torch.zeros(0))
self.eval = lambda: 3
self.train = None
self.state_dict = lambda: {}
self.to = None
self.__dict__['training'] = 'x'
self.register_buffer('c', torch.zeros(2, dtype=torch.complex64))
self.register_buffer('s', torch.eye(2).to_sparse())
self.register_buffer('n', None)
self.register_buffer('m', torch.zeros(2, device='meta'))
self.register_buffer('q', torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8))
self.register_buffer('scalar', torch.tensor(3.0))
self.register_forward_hook(lambda *a: None)
self.register_forward_hook(lambda *a: 3)
self.register_forward_pre_hook(lambda *a: sys.exit(0))
self.register_full_backward_hook(lambda *a: None)
self.conv.register_forward_hook(lambda m, i, o: o.detach())
self.add_module('odd name 猫', nn.ReLU())
self.add_module('a' * 5000, nn.ReLU())
self.add_module('logits', nn.ReLU())
self.classes = 3
self.pretrained_cfg = 3
self.pretrained_cfg = {'input_size': 'x'}
self.register_buffer('long', torch.zeros(3, dtype=torch.int64))
self.get_extra_state = lambda: 3
super().__setattr__('forward', None)
self.num_prefix_tokens = 'x'
self.conv.weight.data = self.conv.weight.data.double()
self.register_buffer('i', torch.tensor(float('inf')))
self.act = None
self.conv = nn.Conv2d(3, 4, 99)""".splitlines()
TOPS = [line.replace("\\n", "\n") for line in """\
def broken(:
import nosuchmodule
build = 3
del build
build = None
print('on import')
def build(a, b): return Net()
def build(*, x): return Net()
async def build(): return Net()
def build():\\n    yield Net()
build = Net
build = Net()
build = nn.Module
import gc; gc.disable()
Net.forward = None
Net.__call__ = lambda self, x: x
@torch.no_grad()\\ndef f(self, x): return self.conv(x).mean((2, 3))\\nNet.forward = f
@torch.inference_mode()\\ndef f(self, x): return self.conv(x).mean((2, 3))\\nNet.forward = f
torch.set_grad_enabled(False)
torch.set_default_device('meta')
torch.set_default_dtype(torch.float16)
warnings.simplefilter('error')
sys.setrecursionlimit(60)
sys.stdout = None
sys.stderr = None
import logging; logging.disable()
import signal; signal.alarm(1)
import threading; threading.Thread(target=lambda: 1 / 0).start()
import os; os.chdir('/')
import atexit; atexit.register(lambda: 1 / 0)
Net.__repr__ = lambda self: 1 / 0
Net.__name__ = 'x' * 9999
raise ValueError('first\\nsecond')
__getattr__ = 3
inf = float('inf'); build = lambda: inf
nn.Conv2d.forward = lambda self, x: x
open('net.py', 'w')""".splitlines()]  # fmt: skip
POOLS = {
    "init": [*INITS, *RAISES],
    "before": [*BEFORE, *BEFORE, *RAISES],
    "result": RESULTS,
    "build": RAISES,
    "returned": RETURNED,
    "top": [*TOPS, "\ud800", *RAISES],
}
WEIGHTS = {"init": 2, "before": 3, "result": 4, "build": 1, "returned": 3, "top": 2}
SOUND = {
    "inplace": "", "init": "pass", "before": "pass", "result": MEAN, "build": "pass",
    "returned": "net", "top": "",
}  # fmt: skip
SIDES = (1, 2, 3, 8, 16, 16, 16, 17)


def make(rng: random.Random) -> Draft:
    """A run, or the layers, of one network with one or two faults."""
    code, places = _code(rng)
    shown = "; ".join(f"{place}: {code[place]}" for place in places)

    def plant(folder: Path) -> None:
        text = CODE
        for place, line in code.items():
            text = text.replace("{" + place + "}", line)
        (folder / "net.py").write_bytes(text.encode("utf-8", "surrogatepass"))

    side = rng.choice(SIDES)
    words: tuple[str, ...] = (
        "model.source=factory", "model.factory=net.py:build",
        f"model.input.height={side}", f"model.input.width={rng.choice((side, 16))}",
    )  # fmt: skip
    if rng.random() < 0.08:
        return Draft(("layers", *words), shown, plant, TEXT, blames_user=False, chatty=True)
    words = ("run", *BASE, *words, *_target(rng), *_method(rng))
    return Draft(words, shown, plant, blames_user=False, chatty=True)


def _code(rng: random.Random) -> tuple[dict[str, str], list[str]]:
    """The parts of a network's code, and which of them are faulty."""
    code = dict(SOUND)
    if rng.random() < 0.3:
        code["inplace"] = "inplace=True"
    count = rng.choice((1, 1, 1, 2))
    places = sorted(set(rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count)))
    for place in places:
        code[place] = rng.choice(POOLS[place])
    if code["before"].startswith("raise") and rng.random() < 0.5:
        code["before"] = f"if self.calls > {rng.randint(1, 8)}: {code['before']}"
    return code, places


def _target(rng: random.Random) -> tuple[str, str]:
    layer = rng.choice(("logits", "logits", "conv", "act", "''"))
    return f"target.layer={layer}", f"target.units={rng.choice(('[0]', '0:2', 'all'))}"


def _method(rng: random.Random) -> tuple[str, ...]:
    choices = (
        ("method=adversarial", "method.images=zoo:glyphs", "method.target=1"),
        ("target.position=" + rng.choice(("center", "[0,0]", "0", "cls")),),
        ("engine.precision=bf16",),
        ("engine.channels_last=true",),
        ("model.input.frames=4",),
        (),
    )
    return rng.choices(choices, (3, 2, 1, 1, 1, 10))[0]
