//! Applications of users (`WSGIUserProcess`): what is below a base runs as the user whose directory it is. Root only. All of it is ours.

use rwsgi_testkit::Topic;

mod life;
mod mapping;
mod name_service;
mod own_log;
mod people;
pub mod places;
mod preload;
mod refusals;
mod rights;
mod tuning;

pub fn tests(topic: &mut Topic) {
    life::tests(topic);
    mapping::tests(topic);
    name_service::tests(topic);
    own_log::tests(topic);
    people::tests(topic);
    preload::tests(topic);
    refusals::tests(topic);
    rights::tests(topic);
    tuning::tests(topic);
}
