"""One network of each family that timm and torchvision have, small where there is a choice."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Network:
    """A network of a family: its library and name, and the smallest input that tells something.

    `side` is that of the input, px, and `frames` that of a clip; None for the network's own.
    `sized` says that the constructor must be told the side, as `img_size`.
    """

    source: str
    name: str
    side: int | None = 96
    sized: bool = False
    frames: int | None = None
    kwargs: Mapping[str, object] = field(default_factory=dict)

    @property
    def overrides(self) -> list[str]:
        """The settings with which `fvis run` builds it at random weights."""
        kwargs = {**self.kwargs, **({"img_size": self.side} if self.sized else {})}
        given = {"height": self.side, "width": self.side, "frames": self.frames}
        return [
            f"model={self.source}",
            f"model.name={self.name}",
            "model.pretrained=false",
            *(f"model.input.{key}={value}" for key, value in given.items() if value is not None),
            *(f"+model.kwargs.{key}={value}" for key, value in kwargs.items()),
        ]


def _timm(*names: str, side: int | None = 96, sized: bool = False) -> list[Network]:
    return [Network("timm", name, side, sized) for name in names]


def _torchvision(*names: str, side: int | None = 96, frames: int | None = None) -> list[Network]:
    return [Network("torchvision", name, side, frames=frames) for name in names]


CONVOLUTIONAL = _timm(
    "convnext_atto", "convnextv2_atto", "cspresnet50", "darknet53", "densenet121", "dla46_c",
    "dpn48b", "edgenext_xx_small", "efficientnet_b0", "efficientnetv2_rw_t", "ese_vovnet19b_slim",
    "fastvit_t8", "ghostnet_050", "hgnetv2_b0", "hrnet_w18_small", "inception_next_atto",
    "lcnet_035", "mambaout_femto", "mnasnet_050", "mobilenetv2_035", "mobilenetv3_small_050",
    "mobilenetv4_conv_small_035", "mobileone_s0", "nf_regnet_b0", "poolformer_s12", "rdnet_tiny",
    "regnetx_002", "regnety_002", "repghostnet_050", "repvgg_a0", "repvit_m0_9", "res2net50_14w_8s",
    "resnest14d", "resnet18", "resnetv2_50", "rexnet_100", "selecsls42b", "semnasnet_075",
    "skresnet18", "starnet_s1", "tf_efficientnet_lite0", "tinynet_e", "tresnet_m", "vgg11_bn",
    "xception41",
)  # fmt: skip
ATTENDING = [
    *_timm(
        "caformer_s18", "cait_xxs24_224", "coat_lite_tiny", "coatnet_pico_rw_224", "convit_tiny",
        "crossvit_tiny_240", "davit_tiny", "deit_tiny_patch16_224", "efficientformer_l1",
        "efficientformerv2_s0", "focalnet_tiny_srf", "gcvit_xxtiny", "hiera_tiny_224", "levit_128s",
        "maxvit_pico_rw_256", "nest_tiny", "sequencer2d_s", "tnt_s_patch16_224",
        "twins_pcpvt_small", "visformer_tiny",
        "volo_d1_224", side=None,
    ),
    *_timm(
        "efficientvit_b0", "efficientvit_m0", "mobilevit_xxs",
        "mobilevitv2_050", "nextvit_small", "pvt_v2_b0", "tiny_vit_5m_224", "xcit_nano_12_p16_224",
    ),
    *_timm(
        "beitv2_base_patch16_224", "eva02_tiny_patch14_224", "flexivit_small", "pit_ti_224",
        "swinv2_cr_tiny_224", "vit_base_patch16_siglip_224", side=None,
    ),
    *_timm("vit_small_patch14_reg4_dinov2", side=98, sized=True),
    *_timm("swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", side=None),
]  # fmt: skip
MIXING = _timm("gmlp_s16_224", "mixer_s32_224", "resmlp_12_224", side=None)
TORCHVISION = [
    *_torchvision(
        "alexnet", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5",
        "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1",
        "convnext_tiny", "swin_t", "swin_v2_t",
    ),
    *_torchvision("inception_v3", side=128),
    *_torchvision("vit_b_32", "maxvit_t", side=None),
    *_torchvision("deeplabv3_mobilenet_v3_large", "fcn_resnet50", "lraspp_mobilenet_v3_large"),
    *_torchvision("fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"),
    Network("torchvision", "fcos_resnet50_fpn", kwargs={"min_size": 96}),  # not 800 px, as it would
    *_torchvision("r3d_18", "s3d", "mvit_v2_s", "swin3d_t", side=None, frames=None),
]  # fmt: skip
NETWORKS = [*CONVOLUTIONAL, *ATTENDING, *MIXING, *TORCHVISION]
