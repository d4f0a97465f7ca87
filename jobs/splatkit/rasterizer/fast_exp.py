"""exp in single precision that LLVM can vectorise: the C library's cannot be, and numba ships no vector library."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LOG2_E = 1.4426950408889634
# Minimax polynomial of 2^f on [-1/2, 1/2], highest power first; relative error 2e-7 (Cephes, exp2f).
COEFFICIENTS = (1.535336188319500e-4, 1.339887440266574e-3, 9.618437357674640e-3,
                5.550332471162809e-2, 2.402264791363012e-1, 6.931472028550421e-1, 1.0)  # fmt: skip


@intrinsic
def fast_exp(typing_context: Any, x: Any) -> Any:
    """exp(x) for float32 x in [-80, 80]; wrong outside."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        single, word = ir.FloatType(), ir.IntType(32)
        scaled = builder.fmul(arguments[0], ir.Constant(single, LOG2_E))
        # Not the usual trick of adding 1.5 * 2^23: in a fast-math kernel LLVM would cancel it.
        whole = builder.call(builder.module.declare_intrinsic("llvm.rint", [single]), [scaled])
        part = builder.fsub(scaled, whole)
        exponent = builder.shl(builder.fptosi(whole, word), ir.Constant(word, 23))
        power = builder.bitcast(builder.add(exponent, ir.Constant(word, 127 << 23)), single)
        value = ir.Constant(single, COEFFICIENTS[0])
        for coefficient in COEFFICIENTS[1:]:
            product = builder.fmul(value, part, flags=("contract",))
            value = builder.fadd(product, ir.Constant(single, coefficient), flags=("contract",))
        return builder.fmul(value, power)

    return types.float32(types.float32), generate
