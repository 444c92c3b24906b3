//! Answers of the user database, each asked for once: thousands of process groups have a few users, and the database may be far away.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;

use super::identity::{Account, Accounts};

type Answers<K, V> = RefCell<HashMap<K, Result<V, String>>>;

/// A user database with a memory. It lasts for one reading of the configuration.
pub struct Remembered<'a> {
    accounts: &'a dyn Accounts,
    users: Answers<String, Option<Account>>,
    users_by_id: Answers<u32, Option<Account>>,
    groups: Answers<String, Option<u32>>,
    groups_of: Answers<(Vec<u8>, u32), Vec<u32>>,
    privileged: Answers<(), Vec<(&'static str, u32)>>,
}

impl<'a> Remembered<'a> {
    /// Knows nothing yet.
    pub fn new(accounts: &'a dyn Accounts) -> Self {
        Self {
            accounts,
            users: RefCell::default(),
            users_by_id: RefCell::default(),
            groups: RefCell::default(),
            groups_of: RefCell::default(),
            privileged: RefCell::default(),
        }
    }
}

fn once<K: Eq + Hash, V: Clone>(
    answers: &Answers<K, V>,
    question: K,
    ask: impl FnOnce(&K) -> Result<V, String>,
) -> Result<V, String> {
    if let Some(answer) = answers.borrow().get(&question) {
        return answer.clone();
    }
    let answer = ask(&question);
    answers.borrow_mut().insert(question, answer.clone());
    answer
}

impl Accounts for Remembered<'_> {
    fn user(&self, name: &str) -> Result<Option<Account>, String> {
        once(&self.users, name.to_owned(), |name| self.accounts.user(name))
    }

    fn user_by_id(&self, uid: u32) -> Result<Option<Account>, String> {
        once(&self.users_by_id, uid, |uid| self.accounts.user_by_id(*uid))
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        once(&self.groups, name.to_owned(), |name| self.accounts.group(name))
    }

    fn groups_of(&self, account: &Account, gid: u32) -> Result<Vec<u32>, String> {
        once(&self.groups_of, (account.name.clone(), gid), |_| {
            self.accounts.groups_of(account, gid)
        })
    }

    fn privileged(&self) -> Result<Vec<(&'static str, u32)>, String> {
        once(&self.privileged, (), |()| self.accounts.privileged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Counts how often it is asked.
    #[derive(Default)]
    struct Far(Cell<u32>);

    impl Far {
        fn asked(&self) {
            self.0.set(self.0.get() + 1);
        }
    }

    impl Accounts for Far {
        fn user(&self, name: &str) -> Result<Option<Account>, String> {
            self.asked();
            match name {
                "broken" => Err("no answer".to_owned()),
                name => Ok(Some(Account {
                    name: name.into(),
                    ..Account::default()
                })),
            }
        }
        fn user_by_id(&self, _: u32) -> Result<Option<Account>, String> {
            self.asked();
            Ok(None)
        }
        fn group(&self, _: &str) -> Result<Option<u32>, String> {
            self.asked();
            Ok(Some(7))
        }
        fn groups_of(&self, account: &Account, gid: u32) -> Result<Vec<u32>, String> {
            self.asked();
            Ok(vec![gid, account.uid])
        }
        fn privileged(&self) -> Result<Vec<(&'static str, u32)>, String> {
            self.asked();
            Ok(vec![("shadow", 42)])
        }
    }

    #[test]
    fn each_question_is_asked_once_whatever_the_answer() {
        let far = Far::default();
        let near = Remembered::new(&far);
        let account = |uid| Account {
            uid,
            name: uid.to_string().into(),
            ..Account::default()
        };
        for _ in 0..3 {
            assert_eq!(near.user("a").unwrap().unwrap().name, b"a");
            assert_eq!(near.user("broken"), Err("no answer".to_owned()));
            assert_eq!(near.user_by_id(1), Ok(None));
            assert_eq!(near.group("g"), Ok(Some(7)));
            assert_eq!(near.groups_of(&account(1), 5), Ok(vec![5, 1]));
            assert_eq!(near.groups_of(&account(2), 5), Ok(vec![5, 2]));
            assert_eq!(near.groups_of(&account(2), 6), Ok(vec![6, 2]));
            assert_eq!(near.privileged().unwrap().len(), 1);
        }
        assert_eq!(far.0.get(), 8);
    }
}
