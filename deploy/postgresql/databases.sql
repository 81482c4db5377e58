-- The owner of all databases, and the databases: once, as a superuser. In real life each stands at its own organisation.
\getenv password ESTELAM_PASSWORD
CREATE ROLE estelam_owner LOGIN PASSWORD :'password';
CREATE DATABASE promissory OWNER estelam_owner ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE judiciary OWNER estelam_owner ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE quality OWNER estelam_owner ENCODING 'UTF8' TEMPLATE template0;
