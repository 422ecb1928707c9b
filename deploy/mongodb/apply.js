// The users of Postern in a self-managed MongoDB. As an administrator:
//
//   WEB_PASSWORD=… HOST_PASSWORD=… mongosh "mongodb://admin@db-1/?replicaSet=rs0" apply.js
//
// `web` may do what the portal, the console and the jobs do, and makes a user of its own for each host that joins.
// `host` is for VPN hosts that share one user; leave HOST_PASSWORD out if hosts join.
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

run(role, { updateRole: role.createRole, privileges: role.privileges, roles: role.roles });
const web = { pwd: process.env.WEB_PASSWORD, roles: [{ role: 'readWrite', db: database }, { role: 'dbAdmin', db: database }, { role: 'userAdmin', db: database }] };
run({ createUser: 'web', ...web }, { updateUser: 'web', ...web });
if (process.env.HOST_PASSWORD) {
  const host = { pwd: process.env.HOST_PASSWORD, roles: [{ role: role.createRole, db: database }] };
  run({ createUser: 'host', ...host }, { updateUser: 'host', ...host });
}
print(`users and roles of ${database} are in place`);
