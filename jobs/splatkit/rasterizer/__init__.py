"""A differentiable rasterizer of Gaussians for a CPU, with gsplat's signature."""
