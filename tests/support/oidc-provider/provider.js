// A certified OpenID provider on a free port, for tests. Its one argument is JSON:
//   { host, client_id, client_secret, redirect_uris, people, tls }
// `people` gives, by the login name (an e-mail address), claims that differ from the usual ones; null leaves one out.
// `tls` is { cert, key } in PEM. It prints one line, { issuer }, when it listens, and ends with its standard input.

import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';

import Provider from 'oidc-provider';

const options = JSON.parse(process.argv[2]);
const people = options.people ?? {};
const host = options.host ?? '127.0.0.1';

// What it has to say about not being made for production is not for tests.
console.info = () => {};
console.warn = () => {};

process.stdin.on('end', () => process.exit(0)).on('error', () => process.exit(0)).resume();

const signingKey = (kid) => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid, alg: 'RS256', use: 'sig',
});

// Anybody may sign in, as whoever they say they are: that is what a test wants.
function claimsOf(login) {
  const [local, domain] = login.split('@');
  const usual = {
    sub: createHash('sha256').update(login).digest('hex').slice(0, 21),
    email: login,
    email_verified: true,
    hd: domain,
    name: local.split(/[._]/).map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(' '),
  };
  const claims = { ...usual, ...people[login] };
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== null));
}

const accounts = new Map();

const configuration = {
  clients: [{
    client_id: options.client_id,
    client_secret: options.client_secret,
    redirect_uris: options.redirect_uris,
    response_types: ['code'],
    grant_types: ['authorization_code'],
  }],
  claims: { openid: ['sub'], email: ['email', 'email_verified', 'hd'], profile: ['name'] },
  conformIdTokenClaims: false, // claims of the scopes stand in the ID token, as Google does it
  cookies: { keys: [randomBytes(32).toString('hex')] },
  features: { devInteractions: { enabled: false } },
  findAccount: (ctx, sub) => accounts.has(sub) && { accountId: sub, claims: () => accounts.get(sub) },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  jwks: { keys: [signingKey('first')] },
  pkce: { required: () => true, methods: ['S256'] },
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid email profile');
    await grant.save();
    return grant;
  },
};

const PAGE = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Test provider</title></head><body><main>
<h1>Sign in</h1><form method="post"><label>E-mail <input name="login" type="email" required autofocus></label>
<button>Sign in</button></form></main></body></html>`;

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

async function interact(provider, request, response) {
  await provider.interactionDetails(request, response); // refuses a browser that did not begin here
  if (request.method !== 'POST') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(PAGE);
    return;
  }
  const form = await body(request);
  if (form.has('abort')) {
    await provider.interactionFinished(request, response, { error: 'access_denied' });
    return;
  }
  const claims = claimsOf(form.get('login'));
  accounts.set(claims.sub, claims);
  await provider.interactionFinished(request, response, { login: { accountId: claims.sub } });
}

const server = options.tls ? createHttpsServer(options.tls) : createHttpServer();
server.listen(options.port ?? 0, host, () => {
  const issuer = `${options.tls ? 'https' : 'http'}://${options.name ?? host}:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  const serve = provider.callback();
  server.on('request', (request, response) => {
    if (!request.url.startsWith('/interaction/')) {
      serve(request, response);
      return;
    }
    interact(provider, request, response).catch((error) => {
      response.writeHead(400, { 'content-type': 'text/plain' }).end(`${error.error ?? error}`);
    });
  });
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});
