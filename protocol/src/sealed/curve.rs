//! The X25519 form of an Ed25519 public key: `u = (1 + y) / (1 - y)` (RFC 7748 section 4.1).
//!
//! Only public keys pass here, so the time may depend on them.

/// A number modulo 2^255 - 19, in five limbs of 51 bits.
#[derive(Clone, Copy)]
struct Field([u64; 5]);

const MASK: u64 = (1 << 51) - 1;

/// Any 32 bytes have a result. [`agree`](aws_lc_rs::agreement::agree) refuses those of small order.
pub(super) fn montgomery_of(public: &[u8; 32]) -> [u8; 32] {
    let one = Field([1, 0, 0, 0, 0]);
    let y = Field::from_bytes(public);
    one.plus(y).times(one.minus(y).inverse()).to_bytes()
}

impl Field {
    /// The number with these bytes, without the highest bit, which is the sign of x.
    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut limbs = [0; 5];
        for (index, limb) in limbs.iter_mut().enumerate() {
            for bit in 0..51 {
                let at = 51 * index + bit;
                let set = u64::from(bytes[at / 8] >> (at % 8) & 1);
                *limb |= set << bit;
            }
        }
        Self(limbs)
    }

    fn plus(self, other: Self) -> Self {
        let mut sum = self.0;
        for (limb, added) in sum.iter_mut().zip(other.0) {
            *limb += added;
        }
        Self(sum).carried()
    }

    /// Adds twice the modulus first, so that no limb becomes negative.
    fn minus(self, other: Self) -> Self {
        const TWICE: [u64; 5] = [2 * (MASK - 18), 2 * MASK, 2 * MASK, 2 * MASK, 2 * MASK];
        let mut difference = self.0;
        for ((limb, spare), taken) in difference.iter_mut().zip(TWICE).zip(other.0) {
            *limb = *limb + spare - taken;
        }
        Self(difference).carried()
    }

    fn times(self, other: Self) -> Self {
        let mut wide = [0_u128; 5];
        for (i, a) in self.0.into_iter().enumerate() {
            for (j, b) in other.0.into_iter().enumerate() {
                // 2^255 is 19.
                let factor = if i + j < 5 { 1 } else { 19 };
                wide[(i + j) % 5] += u128::from(a) * u128::from(b) * factor;
            }
        }
        let mut limbs = [0; 5];
        let mut carry = 0;
        for (limb, sum) in limbs.iter_mut().zip(wide) {
            let sum = sum + carry;
            *limb = low(sum);
            carry = sum >> 51;
        }
        let first = u128::from(limbs[0]) + carry * 19;
        limbs[0] = low(first);
        limbs[1] += low(first >> 51);
        Self(limbs).carried()
    }

    fn carried(self) -> Self {
        let mut limbs = self.0;
        let mut carry = 0;
        for limb in &mut limbs {
            *limb += carry;
            carry = *limb >> 51;
            *limb &= MASK;
        }
        limbs[0] += 19 * carry;
        Self(limbs)
    }

    /// `self` to the power of 2^255 - 21, which is 1 / `self`; 0 for 0.
    fn inverse(self) -> Self {
        let mut power = Self([1, 0, 0, 0, 0]);
        for bit in (0..255).rev() {
            power = power.times(power);
            // All bits of the exponent are set but 2 and 4.
            if bit != 2 && bit != 4 {
                power = power.times(self);
            }
        }
        power
    }

    fn to_bytes(self) -> [u8; 32] {
        let mut limbs = self.carried().carried().0;
        // The number is below 2^255. It is at least the modulus if adding 19 carries into bit 255.
        let mut carry = 19;
        for limb in limbs {
            carry = (limb + carry) >> 51;
        }
        limbs[0] += 19 * carry;
        let mut carry = 0;
        for limb in &mut limbs {
            *limb += carry;
            carry = *limb >> 51;
            *limb &= MASK;
        }
        let mut bytes = [0; 32];
        for (index, limb) in limbs.into_iter().enumerate() {
            for bit in 0..51 {
                let at = 51 * index + bit;
                bytes[at / 8] |= u8::from(limb >> bit & 1 == 1) << (at % 8);
            }
        }
        bytes
    }
}

/// The lowest 51 bits.
fn low(number: u128) -> u64 {
    u64::try_from(number & u128::from(MASK)).expect("51 bits fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_point_is_nine() {
        // RFC 7748: the base point of Ed25519 has y = 4/5, that of X25519 has u = 9.
        let mut base = [0x66; 32];
        base[0] = 0x58;
        let mut nine = [0; 32];
        nine[0] = 9;
        assert_eq!(montgomery_of(&base), nine);
    }

    #[test]
    fn an_inverse_times_its_number_is_one() {
        for first in 1..50 {
            let mut bytes = [0x5a; 32];
            bytes[0] = first;
            let number = Field::from_bytes(&bytes);
            let product = number.times(number.inverse()).to_bytes();
            assert!(product[0] == 1 && product[1..].iter().all(|byte| *byte == 0));
        }
    }
}
