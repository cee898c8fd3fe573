//! Rung 5: the kernel's answer is the walker's: the same packets through the same rules, by a real kernel and by `compile::walk`.

#[path = "support/agreement.rs"]
mod agreement;
mod support;
#[path = "support/walking.rs"]
#[allow(dead_code)]
mod walking;

use agreement::{PODS, assert_agreement, manifests_of_all};
use support::netns;
use support::scene::Scene;

#[test]
fn the_kernel_does_what_the_walker_says() {
    if !netns::is_possible() {
        return;
    }
    assert_agreement(&Scene::new(PODS, &manifests_of_all()));
}
