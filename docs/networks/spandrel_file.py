"""Any x4 or x8 network whose file spandrel reads: ESRGAN, SwinIR, HAT, ... Deterministic; the whole image at once.

pip install -c constraints.txt -e ".[spandrel]"
"""

from spandrel import ImageModelDescriptor, ModelLoader


class SpandrelNetwork:
    deterministic = True

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.scales = (descriptor.scale,)
        self.parameters = descriptor.model.parameters  # to be counted for the fact sheet

    def sample(self, lr, generator):
        return self.descriptor(lr)  # [0, 1] to [0, 1]; pads to the sizes that the network needs


def build(scale, weights, device):
    if weights is None:
        raise ValueError("give --weights FILE, a network that spandrel knows")
    descriptor = ModelLoader(device=device).load_from_file(weights)
    if not isinstance(descriptor, ImageModelDescriptor):
        raise ValueError(f"{weights} holds no network from one image to one image")
    return SpandrelNetwork(descriptor.eval())
