//! The weights of the experts that a router chose.

/// The share of each chosen expert in the scores of all that were chosen, times `scale`, in
/// `out: [t, top_k]`. `scores: [t, width]`, `experts: [t, top_k]`.
pub(crate) fn route_weights(
    (scores, width): (&[f32], usize),
    (experts, top_k): (&[u32], usize),
    scale: f32,
    out: &mut [f32],
) {
    let rows = scores.chunks_exact(width).zip(experts.chunks_exact(top_k));
    for ((scores, experts), out) in rows.zip(out.chunks_exact_mut(top_k)) {
        let total: f32 = experts.iter().map(|id| scores[*id as usize]).sum();
        for (out, id) in out.iter_mut().zip(experts) {
            *out = scores[*id as usize] / total * scale;
        }
    }
}
