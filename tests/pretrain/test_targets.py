"""Several teachers' embeddings side by side."""

import torch

from cvgssl.pretrain.targets import joint_embedding


def test_joint_embedding_weighs_teachers_whatever_their_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(50, width, generator=generator) for width in (8, 16))
    joint = joint_embedding([one * 100 + 7, other], [3.0, 1.0])
    torch.testing.assert_close(joint.norm(dim=1), torch.ones(50))
    torch.testing.assert_close(joint[:, :8].square().sum(1), torch.full((50,), 0.75))
    torch.testing.assert_close(joint, joint_embedding([one, other * 5], [6.0, 2.0]))
    assert joint_embedding([torch.ones(4, 3)], [1.0]).isfinite().all()
