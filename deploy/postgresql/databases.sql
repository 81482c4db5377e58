-- Creates the owner and the databases; run once, as a superuser. In production each organisation has its own server.
\getenv password ESTELAM_PASSWORD
CREATE ROLE estelam_owner LOGIN PASSWORD :'password';
CREATE DATABASE promissory OWNER estelam_owner ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE judiciary OWNER estelam_owner ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE quality OWNER estelam_owner ENCODING 'UTF8' TEMPLATE template0;
