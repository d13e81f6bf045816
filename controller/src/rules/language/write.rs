//! How an expression is written: so that reading it again gives the same.

use std::fmt::{self, Display, Formatter};

use super::{Expression, Function, Kind, Leaf, Math, Node, Selector};

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.root.write(f, &self.leaves)
    }
}

impl Display for Leaf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.function {
            None => write!(f, "{}", self.series()),
            Some(Function::Absent) => write!(f, "absent({})", self.series()),
            Some(function) => write!(f, "{}({}, {}ms)", function.word(), self.series(), self.window_ms),
        }
    }
}

impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sign = if self.not { "!=" } else { "=" };
        let pattern = self.pattern.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "{{{}{sign}\"{pattern}\"}}", self.key)
    }
}

impl Node {
    /// Writes it so that reading it again gives the same: what could be taken apart otherwise is in
    /// parentheses.
    fn write(&self, f: &mut Formatter<'_>, leaves: &[Leaf]) -> fmt::Result {
        let pair = |sign: &str, a: &Self, b: &Self, f: &mut Formatter<'_>| {
            a.inner(f, leaves, a.binds() == self.binds())?;
            write!(f, " {sign} ")?;
            b.inner(f, leaves, false)
        };
        match &self.kind {
            Kind::Number(literal) if literal.unit.is_empty() => write!(f, "{}", literal.number),
            Kind::Number(literal) => write!(f, "{} {}", literal.number, literal.unit),
            Kind::Leaf(at) | Kind::Absent(at) => leaves.get(*at).map_or(Ok(()), |leaf| write!(f, "{leaf}")),
            Kind::Negate(a) => {
                f.write_str("-")?;
                a.inner(f, leaves, a.binds() == self.binds())
            }
            Kind::Not(a) => {
                f.write_str("not ")?;
                a.inner(f, leaves, a.binds() == self.binds())
            }
            Kind::Math(math, a, b) => pair(math.sign(), a, b, f),
            Kind::Compare(compare, a, b) => pair(compare.sign(), a, b, f),
            Kind::And(a, b) => pair("and", a, b, f),
            Kind::Or(a, b) => pair("or", a, b, f),
        }
    }

    fn inner(&self, f: &mut Formatter<'_>, leaves: &[Leaf], bare: bool) -> fmt::Result {
        if bare || self.binds() == 0 {
            return self.write(f, leaves);
        }
        f.write_str("(")?;
        self.write(f, leaves)?;
        f.write_str(")")
    }

    /// What it is joined by; 0 for what stands alone, and for comparisons one that nothing shares.
    const fn binds(&self) -> u8 {
        match &self.kind {
            Kind::Number(_) | Kind::Leaf(_) | Kind::Absent(_) => 0,
            Kind::Or(..) => 1,
            Kind::And(..) => 2,
            Kind::Not(_) => 3,
            Kind::Compare(..) => 4,
            Kind::Math(Math::Add | Math::Subtract, ..) => 5,
            Kind::Math(Math::Multiply | Math::Divide, ..) => 6,
            Kind::Negate(_) => 7,
        }
    }
}
