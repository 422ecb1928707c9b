// The users of Postern in a self-managed MongoDB. As an administrator:
//
//   WEB_PASSWORD=… HOST_PASSWORD=… mongosh "mongodb://admin@db-1/?replicaSet=rs0" apply.js
//
// `web` may do what the portal, the console and the jobs do, and makes a user of its own for each host that joins.
// `host` is for VPN hosts that share one user (`database.uri_for_hosts`); leave HOST_PASSWORD out if hosts join, each with a
// user of its own. Safe to repeat: an upgrade may need it, and then says so. Without WEB_PASSWORD the password of `web` stays.
const database = process.env.DATABASE || 'postern';
const fs = require('fs');
const role = JSON.parse(fs.readFileSync(`${__dirname}/postern-host.json`, 'utf8'));
role.privileges.forEach((privilege) => { privilege.resource.db = database; });

const at = db.getSiblingDB(database);
const run = (create, update) => {
  try {
    at.runCommand(create);
  } catch (error) {
    if (![51002, 51003].includes(error.code)) throw error;
    at.runCommand(update);
  }
};

// Without a password the user has to be there, and keeps the one that it has.
const user = (name, pwd, roles) =>
  (pwd ? run({ createUser: name, pwd, roles }, { updateUser: name, pwd, roles }) : at.runCommand({ updateUser: name, roles }));

run(role, { updateRole: role.createRole, privileges: role.privileges, roles: role.roles });
user('web', process.env.WEB_PASSWORD, ['readWrite', 'dbAdmin', 'userAdmin'].map((name) => ({ role: name, db: database })));
if (process.env.HOST_PASSWORD) user('host', process.env.HOST_PASSWORD, [{ role: role.createRole, db: database }]);
print(`users and roles of ${database} are in place`);
